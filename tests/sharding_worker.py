"""Runs in a process of its own: updates and worlds, spread over devices.

python -m tests.sharding_worker OUT DEVICES [COORDINATOR PROCESSES PROCESS]

Writes a bandit's losses and its actor's params, and the joints of process 0's
worlds after two steps, to OUT as .npz, from process 0.
"""

import functools
import sys

import jax
import numpy as np

from rlt_jax import replay, sharding, tasks
from rlt_jax.agents import rlt
from rlt_jax.sim.worlds import over_worlds

WORLDS = 16
_Z, _P, _C, _A, _ROWS, _UPDATES = 3, 2, 4, 2, 256, 50
CONFIG = rlt.RltConfig(
  hidden_dims=(16, 16),
  exploration_std=1.0,
  beta=1.3e-4,
  batch_size=16,
  cycles_per_dispatch=_UPDATES,
)


def problem():
  """Returns networks, ring, filled replay state and train state."""
  nets = rlt.make_networks(CONFIG, _Z, _P, _C, _A)
  ring = replay.make_ring(_ROWS, CONFIG.batch_size)
  spec = replay.transition_spec(_Z, _P, _C, _A)
  rng = np.random.default_rng(0)
  rows = jax.tree.map(
    lambda x: rng.normal(size=(_ROWS, *x.shape)).astype(np.float32), spec
  )
  rows = rows._replace(
    discount=np.zeros(_ROWS, np.float32),
    source=np.zeros(_ROWS, np.int32),
  )
  stored = ring.add(ring.init(spec), rows, np.ones(_ROWS, bool))
  return nets, ring, stored, rlt.init(jax.random.key(0), nets)


def train(devices):
  """Returns (metrics, state) after the updates; None is without a mesh."""
  nets, ring, stored, state = problem()
  sample = ring.sample
  if devices is not None:
    mesh = sharding.make_mesh(devices)
    sample = sharding.shard_samples(sample, CONFIG.batch_size, mesh)
    stored, state = sharding.replicate((stored, state), mesh)
  update = jax.jit(functools.partial(rlt.update, nets, sample))
  state, metrics = update(state, stored)
  return metrics, state


def move(devices):
  """Returns the joints [E', 16] that this process holds after two steps."""
  task = tasks.load('ethernet')
  keys = jax.random.split(jax.random.PRNGKey(0), WORLDS)
  state = task.compile(jax.vmap(task.reset))(keys)
  step = over_worlds(task.step)
  if devices is not None:
    mesh = sharding.make_mesh(devices)
    state = sharding.shard(state, mesh)
    step = sharding.shard_map_data(step, mesh)
  step = task.compile(step)
  for _ in range(2):
    state = step(state, state.command + 0.01)
  shards = sorted(
    state.qpos.addressable_shards, key=lambda shard: shard.index[0].start or 0
  )
  return np.concatenate([shard.data for shard in shards])


def main(out, devices, *hosts):
  if hosts:
    sharding.initialize_distributed(hosts[0], int(hosts[1]), int(hosts[2]))
  metrics, state = train(int(devices))
  joints = move(int(devices))
  leaves = jax.tree.leaves(state.actor_params)
  kinds = {str(x.sharding.is_fully_replicated) for x in leaves}
  if jax.process_index() == 0:
    np.savez(
      out,
      *[np.asarray(x.addressable_data(0)) for x in leaves],
      loss=np.asarray(metrics['critic_loss'].addressable_data(0)),
      joints=joints,
      replicated=np.array(sorted(kinds)),
    )


if __name__ == '__main__':
  main(*sys.argv[1:])
