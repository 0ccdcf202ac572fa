"""Rows and layers that every contender shares."""

import jax
import jax.numpy as jnp

from rlt_jax import replay
from rlt_jax.types import Transition

PROPRIO, CHUNK, ACTION = 28, 10, 14  # P, C, A of the paper's robot


def make_rows(key, z_dim: int, capacity: int) -> Transition:
  """Returns random rows [capacity, ...]. The key is consumed."""
  spec = replay.transition_spec(z_dim, PROPRIO, CHUNK, ACTION)
  leaves, tree = jax.tree.flatten(spec)
  keys = jax.random.split(key, len(leaves))
  rows = [
    jax.random.normal(k, (capacity, *x.shape)).astype(x.dtype)
    for k, x in zip(keys, leaves, strict=True)
  ]
  rows = jax.tree.unflatten(tree, rows)
  return rows._replace(
    reward=(rows.reward > 2.0).astype(jnp.float32),
    discount=jnp.full(capacity, 0.9),
    valid=jnp.ones((capacity, CHUNK)),
  )


def layers_of(params):
  """Returns [(kernel, bias), ...] of one network's params, in order."""
  return [
    (params[name]['kernel'], params[name]['bias'])
    for name in sorted(n for n in params if n.startswith('Dense'))
  ]
