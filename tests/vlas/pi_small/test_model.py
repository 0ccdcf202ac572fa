import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.types import Observation
from rlt_jax.vlas.pi_small import model
from tests.vlas.untrained import random_vla

_prefix = jax.jit(model.prefix, static_argnames='config')
_sample_with_noise = jax.jit(model.sample, static_argnames='config')
_velocity = jax.jit(model.velocity, static_argnames='config')


@pytest.fixture(scope='module')
def params(config):
  vla = random_vla(
    jax.random.key(0),
    config,
    action_mode='a',
    action_scale=(1.0, 1.0),
    joint_names=('turn', 'slide'),
    control_hz=10.0,
  )
  # Closed gates would hide what attention does.
  rng = np.random.default_rng(0)
  expert = jax.tree.map(
    lambda x: np.asarray(x) + 0.3 * rng.normal(size=x.shape).astype(np.float32),
    vla.params['expert'],
  )
  return vla.params | {'expert': expert}


@pytest.fixture(scope='module')
def observation(demos):
  frames = demos.frames
  images = {camera: x[:3] for camera, x in frames.images.items()}
  return Observation(images, frames.proprio[:3], frames.prompt[:3])


def _sample(params, observation, key, config):
  shape = (3, config.horizon, config.action_dim)
  noise = jax.random.normal(key, shape)
  return _sample_with_noise(params, observation, noise, config=config)


def _uncached_sample(params, observation, key, config):
  """Runs the whole prefix again at every Euler step, in plain Python."""
  x = jax.random.normal(key, (3, 1, config.horizon, config.action_dim))
  for i in range(config.euler_steps):
    out = _prefix(params, observation, config=config)
    time = jnp.full((1, 1), 1.0 - i / config.euler_steps)
    v = _velocity(params, out, observation.proprio, x, time, config=config)
    x = x - v / config.euler_steps
  return x[:, 0] * params['norm'].chunk_std + params['norm'].chunk_mean


def test_shapes_and_masks(config, params, observation):
  out = _prefix(params, observation, config=config)
  N, D = config.num_tokens, config.prefix_width
  chex.assert_shape(out.tokens, (3, N, D))
  assert out.mask.tolist() == [[True] * 4 + [False]] * 3
  assert out.image_mask.tolist() == [[True] * 2 + [False] * 3] * 3
  assert not out.tokens[:, -1].any()
  prediction = model.predict_targets(params, out, config=config)
  chex.assert_shape(prediction, (3, config.target_dim))


def test_default_sizes():
  config = model.PiConfig()
  assert (config.num_image_tokens, config.num_tokens) == (48, 60)
  assert config.target_dim == 12
  shapes = jax.eval_shape(
    lambda key: model.init_params(key, None, config=config), jax.random.key(0)
  )
  assert 2e6 < sum(x.size for x in jax.tree.leaves(shapes)) < 5e6


def test_caching_the_prefix_changes_nothing(config, params, observation):
  key = jax.random.key(2)
  actual, _ = _sample(params, observation, key, config=config)
  expected = _uncached_sample(params, observation, key, config)
  chex.assert_shape(actual, (3, config.horizon, config.action_dim))
  np.testing.assert_allclose(actual, expected, atol=0.05)
  assert np.std(expected) > 0.5


def test_prefix_does_not_read_the_suffix(config, params, observation):
  other = observation._replace(proprio=observation.proprio + 1.0)
  key = jax.random.key(0)
  chunk, out = _sample(params, observation, key, config=config)
  other_chunk, other_out = _sample(params, other, key, config=config)
  chex.assert_trees_all_equal(out, other_out)
  assert np.abs(chunk - other_chunk).max() > 0.01


@pytest.mark.parametrize('camera', ['top', 'side'])
def test_every_camera_moves_the_chunk(config, params, observation, camera):
  images = observation.images | {camera: 255 - observation.images[camera]}
  key = jax.random.key(0)
  chunk, _ = _sample(params, observation, key, config=config)
  other, _ = _sample(
    params, observation._replace(images=images), key, config=config
  )
  assert np.abs(chunk - other).max() > 1e-3


def test_padding_changes_nothing(config, params, observation):
  embedding = params['prefix']['Embed_0']['embedding'].at[0].set(7.0)
  prefix = params['prefix'] | {'Embed_0': {'embedding': embedding}}
  other = params | {'prefix': prefix}
  key = jax.random.key(0)
  chex.assert_trees_all_equal(
    _visible(_sample(params, observation, key, config=config)),
    _visible(_sample(other, observation, key, config=config)),
  )
  full = observation._replace(prompt=np.full((3, 3), 4, np.int32))
  chunk, _ = _sample(params, full, key, config=config)
  assert (
    np.abs(chunk - _sample(params, observation, key, config=config)[0]).max()
    > 1e-3
  )


def _visible(sampled):
  chunk, out = sampled
  return chunk, out.tokens


def test_a_row_does_not_depend_on_its_neighbors(config, params, observation):
  out = _prefix(params, observation, config=config)
  one = jax.tree.map(lambda x: x[1:2], observation)
  alone = _prefix(params, one, config=config)
  np.testing.assert_allclose(alone.tokens[0], out.tokens[1], atol=0.02)
  assert np.abs(out.tokens[0] - out.tokens[1]).max() > 0.1


def test_refuses_what_does_not_fit(config, params, observation):
  images = dict(observation.images)
  del images['side']
  with pytest.raises(ValueError, match="camera 'side'"):
    model.prefix(params, observation._replace(images=images), config=config)
  images['side'] = np.zeros((3, 8, 8, 3), np.uint8)
  with pytest.raises(ValueError, match='must be .B, 16, 16, 3'):
    model.prefix(params, observation._replace(images=images), config=config)
  long = observation._replace(prompt=np.ones((3, 5), np.int32))
  with pytest.raises(ValueError, match='prompt must be'):
    model.prefix(params, long, config=config)
  short = observation._replace(proprio=np.zeros((3, 3), np.float32))
  with pytest.raises(ValueError, match='proprio must be'):
    _sample(params, short, jax.random.key(0), config)
  noise = np.zeros((3, config.horizon + 1, config.action_dim))
  with pytest.raises(ValueError, match='noise must have the shape'):
    model.sample(params, observation, noise, config=config)


@pytest.mark.parametrize(
  'field, value, rule',
  [
    ('image_size', 40, 'multiple of 16'),
    ('cameras', ('a', 'a'), 'distinct'),
    ('proprio_dim', 3, 'position per action'),
    ('readout_near', (0.002,), 'm and rad'),
    ('depth', 0, 'positive'),
  ],
)
def test_config_refuses(field, value, rule):
  with pytest.raises(ValueError, match=rule):
    model.PiConfig(**{field: value})
