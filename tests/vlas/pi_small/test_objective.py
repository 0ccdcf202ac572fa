import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import dataset, objective, train
from rlt_jax.vlas.pi_small.objective import LossConfig

_LOSS = LossConfig(draws=2, hold_weight=0.5)


@pytest.fixture(scope='module')
def setting(config, demos):
  state = train.init_state(
    jax.random.key(0), config=config, train=train.TrainConfig()
  )
  rng = np.random.default_rng(0)
  # Adaptive gates start closed: open them, to let the flow loss through.
  params = jax.tree.map(
    lambda x: np.asarray(x) + 0.1 * rng.normal(size=x.shape).astype(np.float32),
    state.params,
  )
  norm = dataset.measure(demos.frames, config)
  batch = demos_lib.take(demos.frames, np.arange(16))
  return params, jax.tree.map(jnp.asarray, norm), batch


@pytest.fixture(scope='module')
def all_grads(config, setting):
  """Gradients with the readout's loss, and without."""
  params, norm, batch = setting

  def grads(weight):
    loss = dataclasses.replace(_LOSS, prefix_weight=weight)

    def total(params):
      return objective.loss(
        params,
        batch,
        jax.random.key(0),
        config=config,
        train=loss,
      )[0]

    return jax.jit(jax.grad(total))(params | {'norm': norm})

  return grads(0.5), grads(0.0)


@pytest.fixture(scope='module')
def prefix_grads(all_grads):
  return [grads['prefix'] for grads in all_grads]


def _last_layer(grads):
  """What follows the last layer's keys and values."""
  last = grads['layer_1']
  return {
    'query': last['attention']['query']['kernel'],
    'out': last['out']['kernel'],
    'mlp_norm': last['mlp_norm']['scale'],
    'mlp_in': last['mlp']['gate_value']['kernel'],
    'mlp_out': last['mlp']['out']['kernel'],
    'final_norm': grads['final_norm']['scale'],
  }


def test_readout_trains_the_last_prefix_layer(prefix_grads):
  for name, grad in _last_layer(prefix_grads[0]).items():
    assert np.abs(grad).max() > 1e-6, name


def test_flow_alone_leaves_the_last_prefix_layer_untrained(prefix_grads):
  for name, grad in _last_layer(prefix_grads[1]).items():
    assert not np.asarray(grad).any(), name
  last = prefix_grads[1]['layer_1']['attention']
  for name in ('key', 'value'):
    assert np.abs(last[name]['kernel']).max() > 1e-6, name


def test_statistics_are_not_trained(all_grads):
  for grads in all_grads:
    for grad in jax.tree.leaves(grads['norm']):
      assert not np.asarray(grad).any()


def test_held_steps_weigh_less(config, setting):
  params, norm, batch = setting
  valid = batch.chunk_valid.copy()
  valid[:, 2:] = False

  def flow_loss(chunk_valid, hold_weight):
    _, metrics = objective.loss(
      params | {'norm': norm},
      batch._replace(chunk_valid=chunk_valid),
      jax.random.key(0),
      config=config,
      train=dataclasses.replace(_LOSS, hold_weight=hold_weight),
    )
    return metrics['flow_loss']

  flow_loss = jax.jit(flow_loss, static_argnums=1)
  first, last = flow_loss(valid, 0.0), flow_loss(~valid, 0.0)
  assert not np.isclose(first, last, rtol=1e-3)
  np.testing.assert_allclose(
    flow_loss(valid, 0.5), (first + 0.5 * last) / 1.5, rtol=1e-5
  )
  np.testing.assert_allclose(
    flow_loss(valid, 1.0), (first + last) / 2.0, rtol=1e-5
  )


def test_targets_by_hand(config):
  way = np.array([[0.1, -0.2, 1.0, 0.0, 0.2, 0.4]], np.float32)
  actual = objective.targets(way, config=config)
  bent = np.tanh([1.0, -2.0, 10.0, 0.0, 1.0, 2.0])
  np.testing.assert_allclose(actual, [[*way[0], *bent]], rtol=1e-6)


def test_augmentation_stays_in_its_bounds_and_moves_no_pixel():
  loss = LossConfig(brightness=10.0, contrast=0.0, pixel_noise=2.0)
  image = np.full((8, 16, 16, 3), 100, np.uint8)
  image[:, 4, 5] = 200
  images = {'top': image, 'side': image}
  out = objective.augment(images, jax.random.key(0), config=loss)
  change = np.stack([out['top'], out['side']]) - image.astype(np.float32)
  assert 8.0 < np.abs(change).max() <= 12.0
  light = change.mean((2, 3, 4))
  assert len(np.unique(light.round(3))) == 16, 'rows and cameras differ'
  assert np.abs(change - light[..., None, None, None]).max() < 2.1
  still = LossConfig(brightness=0.0, contrast=0.0, pixel_noise=0.0)
  out = objective.augment(images, jax.random.key(0), config=still)
  np.testing.assert_allclose(out['top'], image, atol=1e-4)


def test_contrast_keeps_the_mean():
  loss = LossConfig(brightness=0.0, contrast=0.5, pixel_noise=0.0)
  image = np.zeros((4, 16, 16, 3), np.uint8)
  image[:, :8] = 100
  out = objective.augment({'top': image}, jax.random.key(0), config=loss)
  np.testing.assert_allclose(out['top'].mean((1, 2, 3)), 50.0, atol=1e-3)
  spans = np.ptp(out['top'], axis=(1, 2, 3))
  assert (spans >= 50.0).all() and (spans <= 150.0).all()
  assert np.ptp(spans) > 1.0


@pytest.mark.parametrize('field', ['prefix_weight', 'brightness', 'contrast'])
def test_config_refuses_negatives(field):
  with pytest.raises(ValueError, match=f'{field} must not be negative'):
    LossConfig(**{field: -1.0})
