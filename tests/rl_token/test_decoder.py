import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.decoder import Decoder, draw_context

_CONFIG = TokenConfig(token_dim=6, num_image_tokens=5, width=8, num_heads=2)


@functools.cache
def _decoder():
  decoder = Decoder(_CONFIG)
  rng = np.random.default_rng(0)
  tokens = rng.normal(size=(2, 5, 6)).astype(np.float32)
  z_rl = rng.normal(size=(2, 8)).astype(np.float32)
  all_true = np.ones((2, 5), bool)
  params = jax.jit(decoder.init)(
    jax.random.key(0), z_rl, tokens, all_true, all_true
  )
  return jax.jit(decoder.apply), params, z_rl, tokens, all_true


@pytest.mark.parametrize('j', range(5))
def test_token_j_changes_later_predictions_only(j):
  decode, params, z_rl, tokens, all_true = _decoder()
  out = decode(params, z_rl, tokens, all_true, all_true)
  other = tokens.copy()
  other[:, j] += 1.0
  moved = decode(params, z_rl, other, all_true, all_true)
  change = np.abs(np.asarray(moved - out)).max((0, 2))  # [N]
  np.testing.assert_array_equal(change[: j + 1], np.zeros(j + 1))
  assert (change[j + 1 :] > 1e-4).all()


def test_z_rl_reaches_every_prediction():
  decode, params, z_rl, tokens, all_true = _decoder()
  out = decode(params, z_rl, tokens, all_true, all_true)
  moved = decode(params, -z_rl, tokens, all_true, all_true)
  assert (np.abs(np.asarray(moved - out)).max((0, 2)) > 1e-4).all()


def test_hidden_and_padded_tokens_are_not_read():
  decode, params, z_rl, tokens, all_true = _decoder()
  partly = all_true.copy()
  partly[:, 1] = False
  other = tokens.copy()
  other[:, 1] = 50.0
  for mask, keep in ((partly, all_true), (all_true, partly)):
    np.testing.assert_array_equal(
      decode(params, z_rl, tokens, mask, keep)[:, 2:],
      decode(params, z_rl, other, mask, keep)[:, 2:],
    )


def test_no_gradient_reaches_the_teacher_tokens():
  decode, params, z_rl, tokens, all_true = _decoder()

  def total(tokens, z_rl):
    out = decode(params, z_rl, tokens, all_true, all_true)
    return jnp.square(out).sum()

  to_tokens, to_z = jax.grad(total, argnums=(0, 1))(tokens, z_rl)
  np.testing.assert_array_equal(to_tokens, np.zeros_like(tokens))
  assert np.abs(to_z).max() > 1e-4


def test_positions_without_context_differ():
  decode, params, z_rl, tokens, all_true = _decoder()
  out = decode(params, z_rl, tokens, all_true, ~all_true)
  gaps = np.abs(np.diff(np.asarray(out), axis=1)).max((0, 2))
  assert (gaps > 1e-3).all()


def test_context_is_drawn_at_the_configured_rates():
  config = dataclasses.replace(
    _CONFIG, context_dropout=0.75, full_context_share=0.2
  )
  keep = np.asarray(draw_context(jax.random.key(0), (4000, 40), config))
  full = keep.all(1)
  # Chance alone fills a row of 40 with probability 0.25**40.
  np.testing.assert_allclose(full.mean(), 0.2, atol=0.02)
  np.testing.assert_allclose(keep[~full].mean(), 0.25, atol=0.01)
  assert not np.array_equal(keep[~full][0], keep[~full][1])


def test_no_dropout_keeps_everything():
  config = dataclasses.replace(_CONFIG, context_dropout=0.0)
  assert np.asarray(draw_context(jax.random.key(0), (64, 5), config)).all()
