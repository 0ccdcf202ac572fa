import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.rl_token import rl_token, stage1, token_folder
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import pi_vla
from tests.vlas.untrained import random_vla

_CONFIG = stage1.Stage1Config(episodes=12, steps=2, seed=1)


@pytest.fixture(scope='module')
def vla(config, demos):
  return random_vla(jax.random.key(0), config, **demos.action_facts())


def test_the_most_common_instruction_is_chosen(demos):
  prompt = demos.frames.prompt.copy()
  prompt[:100] = [7, 0, 0]  # the first 10 of 24 episodes
  frames = demos.frames._replace(prompt=prompt)
  rows = stage1.choose_frames(frames, 60, seed=0)
  np.testing.assert_array_equal(rows, np.arange(100, 240))
  few = stage1.choose_frames(frames, 3, seed=0)
  assert len(np.unique(frames.episode[few])) == 3
  assert not set(few) & set(range(100))


def test_embeddings_are_the_vlas_image_tokens(vla, demos):
  frames = demos_lib.take(demos.frames, np.arange(70))  # more than one batch
  tokens, mask = stage1.embed_frames(vla, frames)
  count = vla.config.num_image_tokens
  assert tokens.shape == (70, count, vla.spec.token_dim) and mask.all()
  last, _ = stage1.embed_frames(
    vla, demos_lib.take(demos.frames, np.arange(66, 70))
  )
  np.testing.assert_allclose(tokens[66:], last, atol=0.02)


def test_the_remaining_motion_is_read_from_features_that_hold_it(
  vla, demos, monkeypatch
):
  frames = demos.frames
  z_rl = np.tile(frames.remaining_motion, (1, 2))
  monkeypatch.setattr(stage1.train, 'encode_all', lambda *_: z_rl)
  token = type('Token', (), {'params': None, 'config': None})
  tokens = np.random.default_rng(0).normal(size=(240, 2, 4))
  out = stage1.probe_motion(
    token,
    tokens,
    np.ones((240, 2), bool),
    frames,
    demos_lib.split_episodes(frames.episode, 0.2, 0),
  )
  assert out['probe_r2_tip_z_rl'] > 0.99 > 0.5 > out['probe_r2_tip_mean_token']
  assert out['probe_rmse_turn_z_rl'] < 0.1 * out['probe_rmse_turn_constant']


def test_a_folder_holds_token_and_card(vla, demos, tmp_path):
  result = stage1.run(vla, demos.frames, _CONFIG)
  assert (result.episodes, result.frames) == (12, 120)
  folder = tmp_path / 'token'
  token_folder.check_new(folder)
  token_folder.write(folder, result, command=['python', 'x'], seed=1)
  token = rl_token.load(folder, vla_fingerprint=vla.spec.fingerprint)
  assert token.spec == result.token.spec
  card = (folder / 'MODEL_CARD.md').read_text()
  assert '12 demonstrations, 120 frames; 1 demonstrations' in card
  assert '| probe_r2_tip_z_rl |' in card
  with pytest.raises(ValueError, match='must not hold a token yet'):
    token_folder.check_new(folder)


def test_joint_training_writes_the_vla_along(vla, demos, tmp_path):
  config = dataclasses.replace(_CONFIG, alpha=0.1)
  result = stage1.run(vla, demos.frames, config)
  assert result.vla.spec.fingerprint != vla.spec.fingerprint
  token_folder.write(tmp_path / 'token', result, command=[], seed=1)
  saved = pi_vla.load(tmp_path / 'token' / 'vla')
  assert saved.spec == result.vla.spec
  rl_token.load(tmp_path / 'token', vla_fingerprint=saved.spec.fingerprint)


def test_joint_training_needs_a_vla_with_a_loss(demos):
  toy = vlas.load('tests.vlas.toy_vla:make')
  with pytest.raises(ValueError, match='TrainableVla.: alpha is 0.5'):
    stage1.run(toy, demos.frames, dataclasses.replace(_CONFIG, alpha=0.5))


@pytest.mark.parametrize('name, value', [('episodes', 1), ('alpha', -1.0)])
def test_a_setting_is_refused_by_name(name, value):
  with pytest.raises(ValueError, match=f'{name} must be at least'):
    stage1.Stage1Config(**{name: value})
