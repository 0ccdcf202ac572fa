"""Training of the trunk, on a few pictures."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.resnet10 import network, renders, training, weights
from rlt_jax.sitting import Sitting

_CONFIG = training.ResNetConfig(scenes=2, steps=4, batch_size=8)


class Kept(Sitting):
  """Keeps every state in memory and goes on from a chosen one."""

  def __init__(self, start=None):
    self.states, self._start = {}, start
    if start is not None:
      self.settings = {'resnet10': 1}

  def restore(self, state, settings):
    assert settings['resnet10']['scenes'] == 2
    return state if self._start is None else self._start

  def save(self, step, state):
    self.states[step] = jax.tree.map(np.array, state)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
  """Pictures of noise, a trunk of one layer; every step is saved."""

  class Trunk(nn.Module):
    @nn.compact
    def __call__(self, images):
      x = images.astype(jnp.float32) / 255.0
      return nn.Conv(network.WIDTH, (32, 32), strides=32)(x)

  class Plain:
    def __init__(self, seed, size):
      self._shape = (size, size, 3)

    def draw(self, key, pictures):
      shape = pictures, *self._shape
      images = jax.random.randint(key, shape, 0, 255, jnp.uint8)
      mean = images.astype(jnp.float32).mean((1, 2)) / 255.0
      return renders.Picture(images, jnp.tile(mean, (1, renders.TARGETS // 3)))

  monkeypatch.setattr(training.renders, 'Scene', Plain)
  monkeypatch.setattr(training, 'ResNet10', Trunk)
  monkeypatch.setattr(training, '_SAVE_EVERY_S', -1.0)


def test_a_resumed_training_ends_as_an_unbroken_one():
  whole = Kept()
  params, metrics = training.train(_CONFIG, whole)
  assert set(whole.states) == {0, 1, 2, 3, 4}
  assert set(metrics) == {'explained', 'minutes'}
  start = jax.tree.map(jnp.asarray, whole.states[2])
  again, _ = training.train(_CONFIG, Kept(start))
  for one, other in zip(
    jax.tree.leaves(params), jax.tree.leaves(again), strict=True
  ):
    np.testing.assert_array_equal(one, other)
  first = whole.states[0]['state'].params['trunk']
  assert any(
    (one != other).any()
    for one, other in zip(
      jax.tree.leaves(params), jax.tree.leaves(first), strict=True
    )
  )


def test_the_loss_is_in_units_of_the_deviations():
  state = training.init(jax.random.key(0), _CONFIG)
  # Heads begin at zero, so that the prediction is zero.
  picture = renders.Picture(
    jnp.zeros((2, 64, 64, 3), jnp.uint8), jnp.full((2, renders.TARGETS), 4.0)
  )
  ones = jnp.ones(renders.TARGETS)
  scale = training.Scale(ones, 1.5 * ones)
  found = training.loss(state.params, jnp.int32(1), picture, scale)
  assert float(found) == pytest.approx(4.0)


@pytest.mark.parametrize('changes, rule', [
  ({'image_size': 72}, 'a multiple of 32 from 64 on: 72'),
  ({'scenes': 0}, 'scenes must be positive: 0'),
  ({'learning_rate': 0.0}, 'learning_rate must be positive .*: 0.0'),
])  # fmt: skip
def test_settings_that_cannot_work_are_refused(changes, rule):
  with pytest.raises(ValueError, match=rule):
    training.ResNetConfig(**changes)


def test_weights_come_back_and_others_are_refused(tmp_path):
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  shapes = jax.eval_shape(network.ResNet10().init, jax.random.key(0), images)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda x: rng.normal(size=x.shape), shapes['params'])
  weights.save(tmp_path, params, metrics={'explained': 0.5}, command=['a'])
  found = weights.load(tmp_path)
  for one, other in zip(
    jax.tree.leaves(params), jax.tree.leaves(found), strict=True
  ):
    np.testing.assert_allclose(one, other, atol=5e-3)
  record = json.loads((tmp_path / 'resnet10.json').read_text('utf-8'))
  assert record == {'metrics': {'explained': 0.5}, 'command': ['a']}
  del params['stem']
  weights.save(tmp_path, params, metrics={}, command=[])
  with pytest.raises(ValueError, match='those of a ResNet-10: .* stem/kernel'):
    weights.load(tmp_path)
  with pytest.raises(ValueError, match='written by experiments.train_resnet10'):
    weights.load(tmp_path / 'none')
  params['stem'] = {'kernel': np.full((7, 7, 3, 64), 1e9)}
  with pytest.raises(ValueError, match='finite in float16: stem/kernel'):
    weights.save(tmp_path, params, metrics={}, command=[])


def test_the_shipped_weights_have_learned_where_solids_are():
  params = weights.load()
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
  record = json.loads((weights.SHIPPED / 'resnet10.json').read_text('utf-8'))
  assert record['metrics']['explained'] > 0.25
