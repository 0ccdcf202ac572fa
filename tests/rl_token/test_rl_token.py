import json

import chex
import jax
import numpy as np
import pytest

from rlt_jax.rl_token import rl_token, train
from rlt_jax.rl_token.config import TokenConfig

_CONFIG = TokenConfig(
  token_dim=4,
  num_image_tokens=3,
  width=8,
  num_layers=1,
  num_heads=2,
  batch_size=8,
  steps=5,
  warmup_steps=1,
)


def _tokens(frames=40):
  """Three image tokens and two language tokens per frame."""
  rng = np.random.default_rng(0)
  return (40.0 + rng.normal(size=(frames, 5, 4))).astype(np.float32)


@pytest.fixture(scope='module')
def token():
  out = train.train_token(jax.random.key(0), _tokens()[:, :3], _CONFIG)
  return rl_token.make(out.params, _CONFIG, 'vla-a')


def _save(folder, token):
  rl_token.save(
    folder, token, metrics={'fve_real': 0.5}, command=['train'], seed=3
  )


def test_z_rl_has_unit_scale_over_the_training_frames(token):
  z_rl = np.asarray(jax.jit(token.apply)(token.params, _tokens()))
  assert z_rl.shape == (40, 8) == (40, token.spec.z_dim)
  np.testing.assert_allclose(z_rl.mean(0), 0.0, atol=1e-4)
  np.testing.assert_allclose(z_rl.std(0), 1.0, atol=1e-3)


def test_language_and_padding_are_never_read(token):
  tokens = _tokens()
  mask = np.ones((40, 5), bool)
  mask[:, 1] = False
  z_rl = token.apply(token.params, tokens, mask)
  tokens[:, 3:] = np.nan
  tokens[:, 1] = np.nan
  np.testing.assert_array_equal(token.apply(token.params, tokens, mask), z_rl)


def test_a_batch_of_one_equals_its_row_of_a_batch(token):
  z_rl = token.apply(token.params, _tokens())
  one = token.apply(token.params, _tokens()[:1])
  np.testing.assert_allclose(one[0], z_rl[0], atol=1e-4)


def test_saving_loses_nothing(token, tmp_path):
  _save(tmp_path / 'a', token)
  back = rl_token.load(tmp_path / 'a', vla_fingerprint='vla-a')
  assert back.spec == token.spec and back.config == token.config
  chex.assert_trees_all_equal(back.params, token.params)
  record = json.loads((tmp_path / 'a' / 'token.json').read_text())
  assert record['metrics'] == {'fve_real': 0.5}
  assert record['command'] == ['train'] and record['seed'] == 3


def test_another_vla_is_refused_before_the_weights_are_read(token, tmp_path):
  _save(tmp_path / 'a', token)
  (tmp_path / 'a' / 'token.safetensors').unlink()
  with pytest.raises(ValueError, match='fingerprint vla-a: vla-b'):
    rl_token.load(tmp_path / 'a', vla_fingerprint='vla-b')


def test_weights_of_another_token_are_refused(token, tmp_path):
  other = jax.tree.map(lambda x: 2.0 * x, token.params)
  _save(tmp_path / 'a', token)
  _save(tmp_path / 'b', rl_token.make(other, _CONFIG, 'vla-a'))
  weights = (tmp_path / 'b' / 'token.safetensors').read_bytes()
  (tmp_path / 'a' / 'token.safetensors').write_bytes(weights)
  with pytest.raises(ValueError, match='weights must have the fingerprint'):
    rl_token.load(tmp_path / 'a', vla_fingerprint='vla-a')


def test_an_existing_token_is_not_overwritten(token, tmp_path):
  _save(tmp_path, token)
  with pytest.raises(ValueError, match='must not hold a token'):
    _save(tmp_path, token)


def test_weights_that_would_be_rounded_are_refused(token, tmp_path):
  params = dict(token.params)
  params['encoder'] = jax.tree.map(lambda x: x + 1e-5, params['encoder'])
  with pytest.raises(ValueError, match='float16 values'):
    _save(tmp_path, rl_token.make(params, _CONFIG, 'vla-a'))


@pytest.mark.parametrize('shape', [(5, 4), (2, 2, 4), (2, 5, 6)])
def test_tokens_of_another_shape_are_refused(token, shape):
  with pytest.raises(ValueError, match=r'vla_tokens must|must be 4 wide'):
    token.apply(token.params, np.zeros(shape, np.float32))
