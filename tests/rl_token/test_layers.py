import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rl_token.layers import Block


def test_last_only_gives_the_last_slot_of_the_full_block():
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  visible = jnp.ones((2, 1, 5), bool).at[0, 0, 1].set(False)
  full = Block(num_heads=2, mlp_ratio=2)
  params = jax.jit(full.init)(jax.random.key(1), x, visible)
  last = Block(num_heads=2, mlp_ratio=2, last_only=True)
  np.testing.assert_allclose(
    jax.jit(last.apply)(params, x, visible),
    jax.jit(full.apply)(params, x, visible)[:, -1:],
    atol=1e-5,
  )


def test_hidden_keys_are_not_read():
  x = jax.random.normal(jax.random.key(0), (1, 4, 8))
  visible = jnp.array([[[True, False, True, True]]])
  block = Block(num_heads=2, mlp_ratio=1)
  params = jax.jit(block.init)(jax.random.key(1), x, visible)
  apply = jax.jit(block.apply)
  out = apply(params, x, visible)
  moved = apply(params, x.at[0, 1].add(3.0), visible)
  np.testing.assert_array_equal(moved[:, 2:], out[:, 2:])
  assert np.abs(moved[:, 1] - out[:, 1]).max() > 1e-3
