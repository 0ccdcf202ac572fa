"""Many worlds side by side."""

from collections.abc import Callable
from typing import Any

import jax

# On a CPU. From 64 matrices on, jaxlib 0.10 spreads a batched factorization
# over the very threads that wait for it, one a core. A physics step has two
# that do not depend on each other: two cores then wait for ever.
_BLOCK = 48


def over_worlds(function: Callable[..., Any]) -> Callable[..., Any]:
  """Vmaps a function of one world over [E]; on a CPU in blocks of at most 48.

  Whatever holds a physics step should go through this, not through `jax.vmap`.
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
