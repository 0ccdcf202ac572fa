"""Tests that every VLA must pass."""

import chex
import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.types import Observation
from rlt_jax.vlas import vla as vla_lib
from tests.vlas.openpi import models

_TEXT = 'insert the plug'


@pytest.fixture(scope='module', params=['pi_small', 'toy', 'openpi'])
def vla(request, assets):
  if request.param == 'toy':
    return vlas.load('tests.vlas.toy_vla:make')
  if request.param == 'openpi':
    return models.make_vla(models.bench_config('pi05'))
  return vlas.load(f'pi_small:{assets / "vla"}')


@pytest.fixture(scope='module')
def observation(vla):
  spec, rng = vla.spec, np.random.default_rng(0)
  shape = (3, spec.image_size, spec.image_size, 3)
  return Observation(
    {c: rng.integers(0, 255, shape).astype(np.uint8) for c in spec.cameras},
    rng.normal(size=(3, spec.proprio_dim)).astype(np.float32),
    np.tile(vla.tokenize(_TEXT), (3, 1)),
  )


def test_shapes_are_those_of_the_spec(vla):
  vla_lib.check_shapes(vla)


def test_a_query_is_pure(vla, observation):
  key = jax.random.key(1)
  apply = jax.jit(vla.apply)
  before = jax.tree.map(np.array, vla.params)
  first = apply(vla.params, observation, key)
  chex.assert_trees_all_equal(first, apply(vla.params, observation, key))
  chex.assert_trees_all_equal(before, jax.tree.map(np.array, vla.params))
  chex.assert_tree_all_finite((first.tokens, first.reference))


def test_the_key_form_draws_the_noise_of_the_other(vla, observation):
  key = jax.random.key(2)
  noise = vla_lib.draw_noise(key, 3, vla.spec)
  by_key = jax.jit(vla.apply)(vla.params, observation, key)
  by_noise = jax.jit(vla.apply_with_noise)(vla.params, observation, noise)
  chex.assert_trees_all_close(by_key, by_noise, atol=1e-4)
  other = jax.jit(vla.apply_with_noise)(vla.params, observation, -noise)
  assert not np.allclose(by_noise.reference, other.reference)
  np.testing.assert_array_equal(by_noise.tokens, other.tokens)


def test_image_tokens_come_first_and_are_visible(vla, observation):
  out = jax.jit(vla.apply)(vla.params, observation, jax.random.key(0))
  image_mask = np.asarray(out.image_mask)
  count = image_mask[0].sum()
  assert 0 < count <= vla.spec.num_tokens
  expected = np.arange(vla.spec.num_tokens) < count
  np.testing.assert_array_equal(image_mask, np.tile(expected, (3, 1)))
  assert np.asarray(out.mask)[:, :count].all()


def test_tokens_follow_the_images_of_every_camera(vla, observation):
  apply = jax.jit(vla.apply)
  before = apply(vla.params, observation, jax.random.key(0)).tokens
  for camera, image in observation.images.items():
    images = observation.images | {camera: 255 - image}
    changed = observation._replace(images=images)
    after = apply(vla.params, changed, jax.random.key(0)).tokens
    assert not np.allclose(before, after), camera


def test_a_row_does_not_depend_on_its_neighbors(vla, observation):
  noise = vla_lib.draw_noise(jax.random.key(3), 3, vla.spec)
  apply = jax.jit(vla.apply_with_noise)
  one = jax.tree.map(lambda x: x[1:2], observation)
  alone = apply(vla.params, one, noise[1:2])
  rows = apply(vla.params, observation, noise)
  # Other batch sizes may sum in another order.
  np.testing.assert_allclose(alone.tokens[0], rows.tokens[1], atol=0.02)
  np.testing.assert_allclose(alone.reference[0], rows.reference[1], atol=0.02)


def test_tokenizing_is_exact_and_refuses_what_has_no_meaning(vla):
  prompt = vla.tokenize(_TEXT)
  assert prompt.shape == (vla.spec.prompt_length,)
  np.testing.assert_array_equal(prompt, vla.tokenize(_TEXT))
  assert not np.array_equal(prompt, vla.tokenize('lift it'))
  with pytest.raises(ValueError):
    vla.tokenize('   ')


def test_proprioception_is_normalized_by_the_stats(vla, observation):
  mean, std = map(np.asarray, vla.proprio_stats())
  np.testing.assert_allclose(
    vla.normalize_proprio(observation.proprio),
    (observation.proprio - mean) / std,
    rtol=1e-6,
  )
