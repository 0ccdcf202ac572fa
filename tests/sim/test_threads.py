"""Many worlds on few cores."""

import os
import subprocess
import sys

from rlt_jax.sim import threads

# What a physics step holds: two factorisations that may run side by side.
_PROGRAM = """
import jax
import jax.numpy as jnp
from rlt_jax import sim

def body(x, _):
  one, other = (jnp.linalg.cholesky(k * mass + 0 * x) for k in (1, 2))
  return x + one @ other, None

@sim.jit
def run(mass):
  return jax.lax.scan(body, jnp.zeros_like(mass), length=200)[0]

mass = jnp.broadcast_to(2 * jnp.eye(16), (256, 16, 16))
for _ in range(10):
  jax.block_until_ready(run(mass))
"""


def test_many_worlds_do_not_lock_up():
  env = {k: v for k, v in os.environ.items() if k != 'NPROC'}
  subprocess.run(
    [sys.executable, '-c', _PROGRAM], env=env, check=True, timeout=120
  )


def test_what_the_user_asks_for_stays(monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 2)
  monkeypatch.setenv('NPROC', '3')
  threads.spare()
  assert os.environ['NPROC'] == '3'
  monkeypatch.delenv('NPROC')
  threads.spare()
  assert os.environ['NPROC'] == '8'
  monkeypatch.delenv('NPROC')
  monkeypatch.setattr(os, 'cpu_count', lambda: 64)
  threads.spare()
  assert 'NPROC' not in os.environ
