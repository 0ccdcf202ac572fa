"""What must hold for any weights: masks, padding, batches, gradients."""

import functools

import flax.traverse_util
import jax
import numpy as np
import pytest

from rlt_jax.vlas.openpi import model
from tests.vlas.openpi import models

_H = 6


@pytest.fixture(scope='module', params=['pi0', 'pi05'])
def config(request):
  return models.small_model(request.param)


@pytest.fixture(scope='module')
def params(config):
  return models.random_params(config)


@pytest.fixture(scope='module')
def inputs():
  rng = np.random.default_rng(0)
  prompt = rng.integers(3, 500, (2, 10)).astype(np.int32)
  prompt[:, 7:] = 0
  return model.ModelInputs(
    images=rng.integers(0, 256, (2, 3, 28, 28, 3)).astype(np.uint8),
    image_mask=np.ones((2, 3), bool),
    prompt=prompt,
    state=rng.normal(size=(2, 32)).astype(np.float32),
  )


_NOISE = np.random.default_rng(1).normal(size=(2, _H, 32)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=3)
def _query(params, inputs, noise, config):
  prefix = model.run_prefix(params, inputs, config)
  chunk = model.sample(
    params, prefix, inputs.state, noise, config=config, steps=2
  )
  return prefix, chunk


def _valid(prefix):
  return np.asarray(prefix.tokens)[np.asarray(prefix.mask)]


def test_a_missing_camera_is_not_seen_and_may_be_left_out(
  config, params, inputs
):
  mask = np.array([[True, False, True]] * 2)
  missing = inputs._replace(image_mask=mask)
  prefix, chunk = _query(params, missing, _NOISE, config)
  pixels = inputs.images.copy()
  pixels[:, 1] = 255 - pixels[:, 1]
  changed, other = _query(
    params, missing._replace(images=pixels), _NOISE, config
  )
  np.testing.assert_array_equal(_valid(prefix), _valid(changed))
  np.testing.assert_array_equal(chunk, other)
  left_out = inputs._replace(
    images=inputs.images[:, [0, 2]], image_mask=mask[:, [0, 2]]
  )
  short, other = _query(params, left_out, _NOISE, config)
  assert short.tokens.shape[1] == prefix.tokens.shape[1] - config.tower.tokens
  np.testing.assert_allclose(_valid(prefix), _valid(short), atol=2e-5)
  np.testing.assert_allclose(chunk, other, atol=2e-5)
  seen, other = _query(params, inputs, _NOISE, config)
  assert not np.allclose(chunk, other, atol=1e-3)
  assert np.asarray(prefix.image_mask).sum() == 2 * 3 * config.tower.tokens


def test_padding_of_the_prompt_changes_nothing_wherever_it_is(
  config, params, inputs
):
  prefix, chunk = _query(params, inputs, _NOISE, config)
  words = inputs.prompt[:, :7]
  gap = np.zeros((2, 3), np.int32)
  for prompt in (
    np.concatenate([words[:, :4], gap, words[:, 4:]], axis=1),
    np.concatenate([gap, words], axis=1),
  ):
    other = _query(params, inputs._replace(prompt=prompt), _NOISE, config)
    np.testing.assert_allclose(_valid(prefix), _valid(other[0]), atol=2e-5)
    np.testing.assert_allclose(chunk, other[1], atol=2e-5)
  swapped = inputs._replace(prompt=inputs.prompt[:, ::-1])
  other = _query(params, swapped, _NOISE, config)
  assert not np.allclose(chunk, other[1], atol=1e-3)


def test_rows_do_not_see_each_other(config, params, inputs):
  prefix, chunk = _query(params, inputs, _NOISE, config)
  one = jax.tree.map(lambda x: x[1:], inputs)
  alone, other = _query(params, one, _NOISE[1:], config)
  np.testing.assert_allclose(prefix.tokens[1], alone.tokens[0], atol=2e-5)
  np.testing.assert_allclose(chunk[1], other[0], atol=2e-5)


def test_only_pi0_reads_the_state_beside_the_prompt(config, params, inputs):
  _, chunk = _query(params, inputs, _NOISE, config)
  moved = inputs._replace(state=inputs.state + 1.0)
  prefix, other = _query(params, moved, _NOISE, config)
  assert np.array_equal(chunk, other) == config.is_pi05
  np.testing.assert_array_equal(
    prefix.tokens, _query(params, inputs, _NOISE, config)[0].tokens
  )


def test_the_second_tap_is_what_enters_the_last_block(config, params, inputs):
  prefix = model.run_prefix(params, inputs, config)
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  for name in flat:  # a last block that adds nothing
    if name.endswith(('attn_vec_einsum/w', 'mlp/linear')):
      flat[name] = flat[name].copy()
      flat[name][-1] = 0.0
  flat['PaliGemma/llm/final_norm/scale'] *= 0.0
  plain = flax.traverse_util.unflatten_dict(flat, sep='/')
  other = model.run_prefix(plain, inputs, config)
  np.testing.assert_allclose(other.tokens, prefix.entering, atol=2e-5)
  assert not np.allclose(prefix.tokens, prefix.entering, atol=1e-2)


def test_the_flow_trains_all_but_the_end_of_the_prefix(inputs):
  config = models.small_model('pi05')
  params, actions = models.random_params(config), 0.1 * _NOISE

  def loss(params):
    key = jax.random.key(0)
    return model.flow_loss(params, inputs, actions, key, config).mean()

  grads = jax.jit(jax.grad(loss))(params)
  flat = flax.traverse_util.flatten_dict(grads, sep='/')
  llm, last, still = 'PaliGemma/llm', set(), set()
  for name, x in flat.items():
    x = np.asarray(x)
    assert np.isfinite(x).all(), name
    if not x.any():
      still.add(name)
    elif name.startswith(f'{llm}/layers') and not x[-1].any():
      last.add(name)
  assert still == {f'{llm}/final_norm/scale'}
  assert last == {
    f'{llm}/layers/{name}'
    for name in (
      'attn/attn_vec_einsum/w',
      'attn/q_einsum/w',
      'mlp/gating_einsum',
      'mlp/linear',
      'pre_ffw_norm/scale',
    )
  }
