"""Networks, rows and initial state that all contenders of one size share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import floor
from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.types import Transition

PROPRIO, CHUNK, ACTION = 28, 10, 14  # P, C, A of the paper's robot


class Shared(NamedTuple):
  """One problem size, its networks and its replay rows [capacity, ...]."""

  sizes: floor.Sizes
  config: rlt.RltConfig
  nets: rlt.Networks
  rows: Transition

  def start(self) -> rlt.TrainState:
    """Returns the train state that every contender starts from."""
    return rlt.init(jax.random.key(0), self.nets)


def make_shared(
  z_dim: int,
  hidden: tuple[int, ...],
  batch: int,
  critics: int,
  capacity: int,
) -> Shared:
  """Builds one size; equal arguments give equal numbers in every process."""
  config = rlt.RltConfig(
    hidden_dims=hidden, num_critics=critics, batch_size=batch
  )
  return Shared(
    sizes=floor.Sizes(z_dim, PROPRIO, CHUNK * ACTION, hidden, batch, critics),
    config=config,
    nets=rlt.make_networks(config, z_dim, PROPRIO, CHUNK, ACTION),
    rows=make_rows(jax.random.key(1), z_dim, capacity),
  )


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
  )


def layers_of(params):
  """Returns [(kernel, bias), ...] of one network's params, in order."""
  return [
    (params[name]['kernel'], params[name]['bias'])
    for name in sorted(n for n in params if n.startswith('Dense'))
  ]
