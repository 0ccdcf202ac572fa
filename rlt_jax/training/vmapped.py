"""Robots and learner of several seeds, as wide as all of them together.

What leads with [S] is one entry a seed; what leads with [S * E] has a seed's E
robots side by side.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.rollout.perception import Perception
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.training import actors as actors_lib
from rlt_jax.training import learner as learner_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.learner import LearnerState
from rlt_jax.types import (
  Array,
  Features,
  PRNGKey,
  Segment,
  Source,
  Transition,
)


def make_learner(
  spec: Transition,
  encode: Callable[[Array, Array], Array],
  nets: rlt.Networks,
  config: PracticeConfig,
  width: int,
) -> learner_lib.Learner:
  """Builds the learner of S seeds; see `learner.make` for the arguments.

  Its state leads with [S], but for the previous segment's [S * E]; owed and
  rows are int64 [S]. `learn` takes (state, segment [S * E], active bool [S])
  and returns the metrics as a list, None where a seed made no update.
  """
  ring = replay.make_ring(config.replay_capacity, config.update.batch_size)
  rows_of = learner_lib.make_rows(encode, config)
  add = jax.jit(jax.vmap(ring.add), donate_argnums=0)
  per_dispatch = learner_lib.CYCLES * config.update.critic_updates_per_actor
  one = functools.partial(
    rlt.update, nets=nets, replay=ring, config=config.update,
    cycles=learner_lib.CYCLES,
  )  # fmt: skip

  @functools.partial(jax.jit, donate_argnums=0)
  def fused(train, stored, due):
    after, metrics = jax.vmap(one)(train, stored)
    return hold(due, after, train), metrics

  stay = jax.jit(hold)

  def init(keys: PRNGKey, segment: Segment) -> LearnerState:
    return LearnerState(
      train=jax.vmap(lambda key: rlt.init(key, nets, config.update))(keys),
      replay=jax.vmap(lambda _: ring.init(spec))(jnp.arange(width)),
      previous=replay.empty_segment(segment),
      owed=np.zeros(width, np.int64),
      rows=np.zeros(width, np.int64),
    )

  def learn(state: LearnerState, segment: Segment, active: np.ndarray):
    rows, keep = jax.tree.map(
      lambda x: x.reshape(width, -1, *x.shape[1:]),
      rows_of(state.previous, segment),
    )
    keep &= active[:, None]
    stored = np.asarray(keep.sum(axis=1))
    ring_state = add(state.replay, rows, keep)
    train, made = state.train, []
    owed = state.owed + stored * config.utd_ratio
    total = state.rows + stored
    ready = active & (total >= config.learning_starts)
    while (due := ready & (owed >= per_dispatch)).any():
      train, metrics = fused(train, ring_state, due)
      made.append((due, metrics))
      owed = owed - per_dispatch * due
    state = LearnerState(
      train=train,
      replay=ring_state,
      previous=stay(active, segment, state.previous),
      owed=owed,
      rows=total,
    )
    jax.block_until_ready(train.actor_params)
    made = jax.device_get(made)
    return state, [_mean(made, i) for i in range(width)]

  return learner_lib.Learner(init, learn)


def make_crew(
  perception: Perception,
  nets: rlt.Networks,
  config: PracticeConfig,
  width: int,
) -> actors_lib.EnvFns:
  """Returns the crew of S seeds; their keys lead with [S]."""
  act = jax.jit(
    jax.vmap(functools.partial(rlt.act, nets), in_axes=(0, 0, 0, 0, 0, None))
  )
  draw = jax.vmap(jax.random.split, in_axes=(0, None))
  count = config.num_envs

  def see(worlds: insertion.State, keys: PRNGKey) -> Features:
    # [M * S * E], but a seed's worlds are seen side by side: [S * M * E].
    seen = perception.perceive_each(_regroup(worlds, -1, width, count), keys)
    return _regroup(seen, width, -1, count)

  def drive(drives, now: Features, keys: PRNGKey):
    actor, warm = drives
    by_seed = jax.tree.map(lambda x: x.reshape(width, count, *x.shape[1:]), now)
    chunk = act(
      actor, by_seed.z_rl, by_seed.proprio, by_seed.reference, keys,
      nets.config.exploration_std,
    )  # fmt: skip
    warm = np.repeat(warm, count)
    chunk = chunk.reshape(now.reference.shape)
    chunk = jnp.where(warm[:, None, None], now.reference, chunk)
    return chunk, np.where(warm, Source.VLA, Source.ACTOR).astype(np.int32)

  return actors_lib.EnvFns(
    split=lambda keys, n: jnp.swapaxes(draw(keys, n), 0, 1),
    world_keys=lambda keys: draw(keys, count).reshape(width * count, -1),
    see=see,
    drive=drive,
  )


def _regroup(tree: Any, a: int, b: int, count: int) -> Any:
  """Turns leaves [a * b * count, ...] into [b * a * count, ...]."""

  def move(x):
    x = x.reshape(a, b, count, *x.shape[1:])
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[3:])

  return jax.tree.map(move, tree)


def hold(active: Array, new: Any, old: Any) -> Any:
  """Returns `new` for active seeds, `old` for others; [S, ...] or [S * E]."""

  def pick(x, y):
    mask = jnp.repeat(active, x.shape[0] // active.shape[0])
    return jnp.where(mask.reshape(-1, *[1] * (x.ndim - 1)), x, y)

  return jax.tree.map(pick, new, old)


def _mean(made: list[tuple[Array, Any]], seed: int) -> dict[str, float] | None:
  """Returns the means of one seed over the dispatches it kept."""
  own = [metrics for due, metrics in made if due[seed]]
  if not own:
    return None
  return {name: float(np.mean([m[name][seed] for m in own])) for name in own[0]}
