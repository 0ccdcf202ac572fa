import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas.pi_small import layers


def _expert(n=3, N=2, G=2):
  block = layers.ExpertBlock(num_heads=2, head_dim=4, mlp_ratio=2)
  keys = jax.random.split(jax.random.key(0), 5)
  x = jax.random.normal(keys[0], (1, G, n, 6))
  cond = jax.random.normal(keys[1], (1, 1, 6))
  cache = layers.KeysValues(
    jax.random.normal(keys[2], (1, N, 4)), jax.random.normal(keys[3], (1, N, 4))
  )
  params = jax.jit(block.init)(keys[4], x, cond, cache, jnp.ones((1, N), bool))
  return block, params, x, cond, cache


def _awake(params):
  """Adaptive norms start closed; ones open their gates."""
  return jax.tree.map(lambda x: jnp.where(x == 0.0, 0.3, x), params)


@pytest.mark.parametrize(
  'spec, shapes',
  [
    ('xi,io->xo', ((5, 3), (3, 4))),
    ('bmd,bnd->bmn', ((2, 5, 3), (2, 4, 3))),
    ('bmn,bnd->bmd', ((2, 5, 4), (2, 4, 3))),
  ],
)
def test_product_and_its_gradient_match_float32(spec, shapes):
  keys = jax.random.split(jax.random.key(0))
  args = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]

  def exact(a, b):
    return jnp.einsum(spec, a, b)

  def both(f):
    return f(*args), jax.grad(lambda *x: jnp.sin(f(*x)).sum(), (0, 1))(*args)

  actual = jax.jit(both, static_argnums=0)(
    lambda a, b: layers.product(spec, a, b)
  )
  # Operands keep 8 bits: sums of up to five products of order one.
  for x, y in zip(
    jax.tree.leaves(actual), jax.tree.leaves(both(exact)), strict=True
  ):
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, y, atol=0.06)


def test_expert_block_is_the_identity_at_first():
  block, params, x, cond, cache = _expert()
  y = jax.jit(block.apply)(params, x, cond, cache, jnp.ones((1, 2), bool))
  np.testing.assert_array_equal(y, x)


def test_expert_attention_equals_one_softmax_over_all_keys():
  block, params, x, cond, cache = _expert(n=3, N=2, G=1)
  params = _awake(params)
  mask = jnp.array([[True, False]])
  actual = jax.jit(block.apply)(params, x, cond, cache, mask)

  p = params['params']
  changes = cond @ p['attention_norm']['changes']['kernel']
  changes = changes + p['attention_norm']['changes']['bias']
  scale, shift, gate = np.split(np.asarray(changes), 3, axis=-1)
  y = layers.rms(x[0, 0]) * (1 + scale[0]) + shift[0]
  q, k, v = (
    np.asarray(y @ p['attention'][name]['kernel'])
    for name in ('query', 'key', 'value')
  )
  k = np.concatenate([cache.keys[0, :1], k])  # The second is padding.
  v = np.concatenate([cache.values[0, :1], v])
  out = np.zeros((3, 8))
  for i in range(3):
    seen = 4 if i else 2  # The state sees the prefix and itself.
    for head in (slice(0, 4), slice(4, 8)):
      weights = jax.nn.softmax(k[:seen] @ q[i, head] / 2.0)
      out[i, head] = weights @ v[:seen]
  z = np.asarray(x[0, 0]) + gate[0] * (out @ p['out']['kernel'])
  changes = cond @ p['mlp_norm']['changes']['kernel']
  changes = changes + p['mlp_norm']['changes']['bias']
  scale, shift, gate = np.split(np.asarray(changes), 3, axis=-1)
  y = layers.rms(z) * (1 + scale[0]) + shift[0]
  a, b = np.split(np.asarray(y @ p['mlp']['gate_value']['kernel']), 2, axis=-1)
  expected = z + gate[0] * ((jax.nn.gelu(a) * b) @ p['mlp']['out']['kernel'])
  np.testing.assert_allclose(actual[0, 0], expected, atol=0.05)


def test_state_does_not_see_the_actions():
  block, params, x, cond, cache = _expert()
  apply = jax.jit(block.apply)
  args = (cond, cache, jnp.ones((1, 2), bool))
  y = apply(_awake(params), x, *args)
  moved = apply(_awake(params), x.at[:, :, 2].add(1.0), *args)
  np.testing.assert_array_equal(moved[:, :, 0], y[:, :, 0])
  assert np.abs(moved[:, :, 1] - y[:, :, 1]).max() > 1e-3


def test_suffixes_that_share_a_prefix_do_not_see_each_other():
  block, params, x, cond, cache = _expert()
  params = _awake(params)
  mask = jnp.ones((1, 2), bool)
  both = jax.jit(block.apply)(params, x, cond, cache, mask)
  alone = jax.jit(block.apply)(params, x[:, 1:], cond, cache, mask)
  np.testing.assert_allclose(both[:, 1:], alone, atol=1e-5)
  assert np.abs(both[:, 0] - both[:, 1]).max() > 0.1
