"""From a checkpoint on disk to a token, a reply and a refusal."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.rl_token import stage1, token_folder
from rlt_jax.serving import codec, schema, vla_service
from rlt_jax.tasks.ethernet import task as ethernet
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Observation
from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.openpi import checkpoint, statistics
from tests.vlas.openpi import models

_FILE = 'bench.json'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A checkpoint as openpi leaves it, and a configuration of its sizes."""
  pytest.importorskip('sentencepiece')
  folder = tmp_path_factory.mktemp('openpi')
  config = models.bench_config('pi05')
  checkpoint.write(folder / 'step', models.random_params(config.model))
  statistics.write(
    folder / 'step' / 'assets' / 'two_arm_bench' / 'norm_stats.json',
    models.random_statistics(14),
  )
  shutil.copy(models.TOKENIZER, folder / 'step' / 'paligemma_tokenizer.model')
  _write(folder / _FILE)
  return folder


@pytest.fixture(scope='module')
def task():
  return ethernet.make().spec


def _write(path, **changes):
  table = {
    'family': 'pi05',
    'dtype': 'float32',
    'sizes': models.SIZES,
    'asset_id': 'two_arm_bench',
    'actions': 'joint_position',
    'cameras': models.bench_config('pi05').cameras,
    'image_size': 64,
    'control_hz': 50,
    'horizon': 50,
    'flow_steps': 3,
    'joints': [
      dataclasses.asdict(joint) for joint in models.bench_config('pi05').joints
    ],
  }
  path.write_text(json.dumps(table | changes))


def _frames(vla) -> DemoBatch:
  rng, F = np.random.default_rng(0), 12
  shape = (F, 64, 64, 3)
  proprio = rng.normal(0.1, 0.3, (F, 28)).astype(np.float32)
  return DemoBatch(
    images={
      name: rng.integers(0, 256, shape).astype(np.uint8)
      for name in vla.spec.cameras
    },
    proprio=proprio,
    prompt=np.tile(vla.tokenize('insert the plug'), (F, 1)),
    chunk=rng.normal(size=(F, 50, 14)).astype(np.float32),
    chunk_valid=np.ones((F, 50), bool),
    remaining_motion=rng.normal(size=(F, 6)).astype(np.float32),
    episode=np.repeat(np.arange(3, dtype=np.int32), 4),
  )


def _demos(vla):
  names = ('action_mode', 'action_scale', 'joint_names', 'control_hz')
  facts = {name: getattr(vla.spec, name) for name in names}
  return Demos(frames=_frames(vla), **facts)


def test_a_checkpoint_gives_a_token_and_replies_and_no_other_takes_it(
  folder, task
):
  text = f'openpi:{folder / _FILE}:{folder / "step"}'
  vla = vlas.load(text)
  result = stage1.run(
    vla, _demos(vla), stage1.Stage1Config(episodes=3, steps=2)
  )
  assert result.token.spec.num_image_tokens == 12
  token_folder.write(str(folder / 'token'), result, command=['test'], seed=0)
  config = PracticeConfig(vla=text)
  vla, token, _ = assets_lib.load(str(folder), config, task)
  spec = vla_service.make_spec(vla, token)
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  rng = np.random.default_rng(0)
  request = schema.make_request(
    spec,
    images={
      name: rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
      for name in spec.cameras
    },
    proprio=rng.normal(0.1, 0.3, 28),
    prompt=task.instruction,
  )
  reply = codec.unpack(codec.pack(infer(codec.unpack(codec.pack(request)))))
  assert np.asarray(reply['actions']).shape == (50, 14)
  assert all(np.isfinite(x).all() for x in (reply['z_rl'], reply['actions']))
  # Another horizon is another VLA.
  _write(folder / 'other.json', horizon=40)
  other = dataclasses.replace(config, vla=text.replace(_FILE, 'other.json'))
  with pytest.raises(ValueError, match='only the VLA it was trained on'):
    assets_lib.load(str(folder), other, task)


def test_what_does_not_fit_the_task_is_refused_before_anything_runs(
  folder, task
):
  for changes, sentence in (
    ({'control_hz': 30}, 'control_hz must be that of the task, 50.0: 30'),
    ({'image_size': 224}, 'image_size must be that of the task, 64: 224'),
    ({'cameras': {'base_0_rgb': 'front'}}, "must be cameras .*'front'"),
    ({'joint_order': _reversed()}, 'joint_names must be those of the task'),
  ):
    _write(folder / 'bad.json', **changes)
    text = f'openpi:{folder / "bad.json"}:{folder / "step"}'
    config = PracticeConfig(vla=text)
    with pytest.raises(ValueError, match=sentence):
      assets_lib.load(str(folder), config, task)


def _reversed():
  return [joint.name for joint in models.bench_config('pi05').joints[::-1]]


def test_the_same_folder_opens_to_the_same_vla(folder):
  text = f'openpi:{folder / _FILE}:{folder / "step"}'
  first, second = vlas.load(text), vlas.load(text)
  assert first.spec == second.spec
  jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


@pytest.mark.parametrize('file', ['norm_stats.json', 'tokenizer', 'params'])
def test_an_incomplete_checkpoint_is_refused(
  folder, tmp_path, monkeypatch, file
):
  monkeypatch.setenv('OPENPI_DATA_HOME', str(tmp_path))
  copy = tmp_path / 'step'
  shutil.copytree(folder / 'step', copy)
  part, sentence = {
    'norm_stats.json': ('assets/two_arm_bench', 'must hold its statistics at'),
    'tokenizer': ('paligemma_tokenizer.model', "PaliGemma's tokenizer must be"),
    'params': ('params', 'must be a folder with params'),
  }[file]
  path = copy / part
  shutil.rmtree(path) if path.is_dir() else path.unlink()
  with pytest.raises(ValueError, match=sentence):
    vlas.load(f'openpi:{folder / _FILE}:{copy}')


@pytest.mark.skipif(
  'OPENPI_CHECKPOINT' not in os.environ,
  reason='needs OPENPI_CHECKPOINT=CONFIGURATION:CHECKPOINT',
)
def test_real_weights_move_joints_within_their_statistics():
  vla = vlas.load(f'openpi:{os.environ["OPENPI_CHECKPOINT"]}')
  spec, stats = vla.spec, vla.proprio_stats()
  side = (1, spec.image_size, spec.image_size, 3)
  observation = Observation(
    {name: np.full(side, 127, np.uint8) for name in spec.cameras},
    np.asarray(stats.mean)[None],
    vla.tokenize('pick up the object')[None],
  )
  noise = vla_lib.draw_noise(jax.random.key(0), 1, spec)
  out = jax.jit(vla.apply_with_noise)(vla.params, observation, noise)
  tokens = np.asarray(out.tokens, np.float32)
  assert np.isfinite(tokens).all() and tokens[0, 0].std() > 0.0
  moves = np.asarray(out.reference[0]) * spec.action_scale
  assert (abs(moves) < 10.0 * np.asarray(stats.std)[: spec.action_dim]).all()
