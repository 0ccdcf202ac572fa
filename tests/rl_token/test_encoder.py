import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.encoder import Encoder

_CONFIG = TokenConfig(token_dim=6, num_image_tokens=5, width=8, num_heads=2)


@functools.cache
def _encoder():
  encoder = Encoder(_CONFIG)
  tokens = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
  mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0] * 5], bool)
  params = jax.jit(encoder.init)(jax.random.key(0), tokens, mask)
  return jax.jit(encoder.apply), params, tokens, mask


def test_padding_never_changes_z_rl():
  encode, params, tokens, mask = _encoder()
  other = np.where(mask[..., None], tokens, 1e4 * tokens + 7.0)
  z_rl = encode(params, tokens, mask)
  np.testing.assert_array_equal(z_rl, encode(params, other, mask))
  assert np.isfinite(z_rl).all()  # Row 2 is nothing but padding.


def test_each_visible_token_changes_z_rl():
  encode, params, tokens, mask = _encoder()
  z_rl = encode(params, tokens, mask)
  for i in range(5):
    other = tokens.copy()
    other[1, i] += 1.0
    moved = encode(params, other, mask)
    assert np.abs(moved[1] - z_rl[1]).max() > 1e-4
    np.testing.assert_allclose(moved[0], z_rl[0], atol=1e-6)


def test_order_of_tokens_matters():
  encode, params, tokens, mask = _encoder()
  z_rl = encode(params, tokens, mask)
  swapped = encode(params, tokens[:, [1, 0, 2, 3, 4]], mask)
  assert np.abs(swapped[1] - z_rl[1]).max() > 1e-4


def test_query_is_the_last_slot():
  encode, params, tokens, mask = _encoder()

  def z_sum(positions):
    inner = params['params'] | {'positions': positions}
    # All padding: the query slot alone is left to read a position from.
    z_rl = encode({'params': inner}, tokens, jnp.zeros_like(mask))
    return jnp.square(z_rl - 0.3).sum()

  grads = jax.jit(jax.grad(z_sum))(params['params']['positions'])
  np.testing.assert_array_equal(grads[:-1], np.zeros((5, 8)))
  assert np.abs(grads[-1]).max() > 1e-4
