"""Training by the flow: it learns, it resumes, its checkpoint is openpi's."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.datasets import opening
from rlt_jax.types import Observation
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.openpi import model, train, train_folder
from tests.vlas import shards, sittings
from tests.vlas.openpi import models

_TRAIN = train.TrainConfig(
  steps=4, batch_size=8, learning_rate=3e-3, warmup_steps=1, log_every=1
)
_JOINTS = ('turn', 'slide', 'rest')


def _table(**changes):
  sizes = models.SIZES | {
    'tower': models.SIZES['tower'] | {'image_size': 14, 'depth': 1},
    'prefix': models.SIZES['prefix'] | {'depth': 1},
    'expert': models.SIZES['expert'] | {'depth': 1},
    'action_dim': 3,
  }
  return {
    'family': 'pi05',
    'dtype': 'float32',
    'sizes': sizes,
    'asset_id': 'bench',
    'actions': 'joint_position',
    'cameras': {'base_0_rgb': 'top'},
    'image_size': 14,
    'control_hz': 10,
    'horizon': 4,
    'prompt_length': 16,
    'flow_steps': 2,
    'joints': [{'name': 'slide', 'scale': -2.0}, {'name': 'turn'}],
    'resting_joints': ['rest'],
    'joint_order': list(_JOINTS),
  } | changes


@pytest.fixture(scope='module')
def demos():
  """48 frames of 6 episodes whose chunks follow the picture's brightness."""
  rng = np.random.default_rng(0)
  F = 48
  pose = rng.uniform(-1.0, 1.0, (F, 3)).astype(np.float32)
  ramp = np.arange(1, 6)[None, :, None] / 5  # a step more than the horizon
  move = pose[:, :1] * np.array([1.0, -1.0, 0.0])
  pixels = 120.0 + 100.0 * pose[:, :1, None, None]
  frames = demos_lib.DemoBatch(
    images={'top': np.tile(pixels, (1, 14, 14, 3)).astype(np.uint8)},
    proprio=np.concatenate([pose, 0.0 * pose], axis=1),
    prompt=np.zeros((F, 1), np.int32),
    chunk=(move[:, None] * ramp).astype(np.float32),
    chunk_valid=np.ones((F, 5), bool),
    remaining_motion=0.01 * np.repeat(pose[:, :1], 6, axis=1),
    episode=np.repeat(np.arange(6, dtype=np.int32), 8),
  )
  return demos_lib.Demos(
    frames=frames,
    action_mode='offset',
    action_scale=(0.1, 0.2, 0.1),
    joint_names=_JOINTS,
    control_hz=10.0,
  )


@pytest.fixture
def place(demos, tmp_path):
  """A folder with demonstrations and a configuration."""
  pytest.importorskip('sentencepiece')
  texts = np.where(demos.frames.episode % 2, 'lift it', 'insert')
  shards.write(tmp_path / 'demos.npz', demos, instruction=texts)
  (tmp_path / 'tiny.json').write_text(json.dumps(_table()))
  return tmp_path


def _run(place, out, *, sitting=None, start='', **changes):
  training = train_folder.TrainFolder(
    folder=place / out,
    config=str(place / 'tiny.json'),
    start=str(start),
    train=dataclasses.replace(_TRAIN, **changes),
    command=['test'],
  )
  path = place / 'demos.npz'
  return training.run(functools.partial(opening.open_source, path), sitting)


def _kill(place, out):
  """Runs two steps, saves, takes another one and is killed."""
  sitting = sittings.Sitting(place / out, resume=False, last_step=3)
  with pytest.raises(sittings.StoppedError):
    _run(place, out, sitting=sitting, save_every_s=1e-9)


def _open(place, out, weights):
  config = place / out / train_folder.CONFIG
  return vlas.load(f'openpi:{config}:{weights}')


def _chunks(vla, demos):
  frames = demos.frames
  prompt = np.tile(vla.tokenize('insert'), (len(demos), 1))
  observation = Observation(frames.images, frames.proprio, prompt)
  noise = vla_lib.draw_noise(jax.random.key(0), len(demos), vla.spec)
  return jax.jit(vla.apply_with_noise)(vla.params, observation, noise)


def test_learns_and_writes_what_reads_back_as_any_other(place, demos):
  weights = _run(
    place, 'a', steps=200, log_every=10, ema_rate=0.9, prefix_weight=0.5
  )
  rows = [
    json.loads(line)
    for line in (place / 'a' / 'metrics.jsonl').read_text().splitlines()
  ]
  for name in ('flow_loss', 'prefix_loss'):
    assert rows[19][name] < 0.6 * rows[0][name]
  assert rows[-1]['chunk_4_rms'] < 0.7 * rows[-1]['still_4_rms']
  vla = _open(place, 'a', weights)
  demos_lib.check_fit(
    dataclasses.replace(
      demos, frames=demos.frames._replace(chunk=demos.frames.chunk[:, :4])
    ),
    vla.spec,
    actions=True,
  )
  out = _chunks(vla, demos)
  asked = demos.frames.chunk[:, :4]
  error = np.square(out.reference - asked).mean()
  assert error < 0.5 * np.square(asked).mean()
  np.testing.assert_allclose(out.reference[..., 2], 0.0, atol=1e-5)
  # Trained on from there at no rate, the same weights come out again.
  again = _run(place, 'b', start=weights, steps=1, learning_rate=1e-12, seed=3)
  on = _open(place, 'b', again)
  np.testing.assert_allclose(
    _chunks(on, demos).reference, out.reference, atol=1e-4
  )
  np.testing.assert_array_equal(
    on.params['norm'].actions, vla.params['norm'].actions
  )


def test_killed_and_resumed_is_an_unbroken_training_to_the_bit(place):
  whole = _run(place, 'whole')
  _kill(place, 'parts')
  sitting = sittings.Sitting(place / 'parts', resume=True)
  parts = _run(place, 'parts', sitting=sitting)
  assert sitting.first_step == 2
  first, second = _open(place, 'whole', whole), _open(place, 'parts', parts)
  jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
  # Only the newest weights stay.
  folders = {x.name for x in (place / 'parts').iterdir() if x.is_dir()}
  assert folders == {'checkpoints', '4'}


def test_other_settings_do_not_resume(place):
  _kill(place, 'a')
  (place / 'tiny.json').write_text(json.dumps(_table(horizon=3)))
  sitting = sittings.Sitting(place / 'a', resume=True)
  with pytest.raises(ValueError, match=r'settings\.vla'):
    _run(place, 'a', sitting=sitting)


@pytest.mark.parametrize(
  'changes, sentence',
  [
    ({'horizon': 6}, 'chunks of at least horizon steps, 6: 5'),
    ({'joint_order': ['slide', 'turn', 'rest']}, 'must have joint_names'),
    ({'control_hz': 20}, 'control_hz of the VLA, 20'),
    ({'image_size': 28}, 'shape of images of top'),
    (
      {'joints': [{'name': n} for n in _JOINTS], 'resting_joints': []},
      "'rest' rests, its actions",
    ),
    (
      {'joints': [{'name': 'turn'}], 'resting_joints': ['slide', 'rest']},
      "'slide' moves by",
    ),
  ],
)
def test_demonstrations_that_do_not_fit_are_refused(place, changes, sentence):
  (place / 'tiny.json').write_text(json.dumps(_table(**changes)))
  with pytest.raises(ValueError, match=sentence):
    _run(place, 'a')
  assert not (place / 'a').exists()


def test_more_draws_have_the_mean_loss_of_as_many_passes():
  config = models.small_model('pi05', action_dim=3)
  params = models.random_params(config)
  rng = np.random.default_rng(0)
  inputs = model.ModelInputs(
    images=rng.integers(0, 256, (2, 1, 28, 28, 3)).astype(np.uint8),
    image_mask=np.ones((2, 1), bool),
    prompt=rng.integers(0, 9, (2, 5)).astype(np.int32),
    state=np.zeros((2, 3), np.float32),
  )
  actions = rng.normal(size=(2, 4, 3)).astype(np.float32)
  loss = jax.jit(model.flow_loss, static_argnums=(4, 5))
  key = jax.random.key(1)
  together = loss(params, inputs, actions, key, config, 2)
  apart = [
    loss(params, inputs, actions, k, config, 1) for k in jax.random.split(key)
  ]
  np.testing.assert_allclose(together, np.mean(apart, axis=0), rtol=1e-4)


@pytest.mark.parametrize('field, value', [('draws', 0), ('ema_rate', 1.0)])
def test_config_refuses(field, value):
  with pytest.raises(ValueError, match=field):
    train.TrainConfig(**{field: value})
