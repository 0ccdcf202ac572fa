"""Vmaps functions over worlds."""

from collections.abc import Callable
from typing import Any

import jax

# For CPUs. jaxlib 0.10 splits a batched factorization of 64 or more matrices
# over the same threads that wait for its result. A physics step has two
# independent ones, which deadlock on two cores.
_BLOCK = 48


def over_worlds(function: Callable[..., Any]) -> Callable[..., Any]:
  """Vmaps a function of one world over [E]; on a CPU in blocks of at most 48.

  Use it instead of `jax.vmap` for every function with a physics step.
  """

  def many(*args):
    count = jax.tree.leaves(args)[0].shape[0]
    if count <= _BLOCK or jax.default_backend() != 'cpu':
      return jax.vmap(function)(*args)
    # Equal blocks compile once.
    equal = max(n for n in range(1, _BLOCK + 1) if count % n == 0)
    size = equal if equal >= _BLOCK // 3 else _BLOCK
    return jax.lax.map(lambda x: function(*x), args, batch_size=size)

  return many
