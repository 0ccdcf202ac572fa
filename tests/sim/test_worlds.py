"""Many worlds on few cores."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim import worlds

# What a physics step holds: two factorisations that may run side by side.
_PROGRAM = """
import jax
import jax.numpy as jnp
from rlt_jax.sim.worlds import over_worlds

def step(x, mass):
  one, other = (jnp.linalg.cholesky(k * mass + 0 * x) for k in (1, 2))
  return x + one @ other

@jax.jit
def run(mass):
  many = over_worlds(step)
  return jax.lax.scan(
    lambda x, _: (many(x, mass), None), jnp.zeros_like(mass), length=200
  )[0]

mass = jnp.broadcast_to(2 * jnp.eye(16), (256, 16, 16))
for _ in range(10):
  jax.block_until_ready(run(mass))
"""


def test_many_worlds_do_not_lock_up():
  subprocess.run([sys.executable, '-c', _PROGRAM], check=True, timeout=120)


@pytest.mark.parametrize('count', [3, 48, 49, 100])
def test_blocks_change_nothing(count):
  x, y = np.arange(count, dtype=np.float32), np.ones((count, 2), np.float32)

  def step(x, y):
    return {'sum': x + y, 'twice': 2 * x}

  found = worlds.over_worlds(step)(jnp.asarray(x), jnp.asarray(y))
  expected = jax.vmap(step)(x, y)
  assert found['sum'].shape == (count, 2)
  jax.tree.map(np.testing.assert_array_equal, found, expected)
