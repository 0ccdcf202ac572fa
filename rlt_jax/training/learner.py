"""The learner: rows in, fused updates out, at a fixed ratio of the two."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import chex
import jax
import numpy as np

from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.replay import ReplayState
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Array, PRNGKey, Segment, Transition

# Cycles (two critic steps, an actor step) a dispatch: enough to hide the call.
CYCLES = 10


@chex.dataclass(frozen=True)
class LearnerState:
  """What learning carries on.

  train, replay: see their packages. previous: the last round's segment, whose
  mid-chunk rows end in the next. owed: int critic updates not yet made.
  rows: int rows stored so far.
  """

  train: rlt.TrainState
  replay: ReplayState
  previous: Segment
  owed: int
  rows: int


def make_rows(
  encode: Callable[[Array, Array], Array], config: PracticeConfig
) -> Callable[[Segment, Segment], tuple[Transition, Array]]:
  """Returns jitted `replay.build_rows` with a run's settings."""
  return jax.jit(
    functools.partial(
      replay.build_rows,
      encode=encode,
      gamma=config.gamma,
      stride=config.replay_stride,
      intervention_reference=config.intervention_reference,
    )
  )


class Learner(NamedTuple):
  """init: (key, segment) -> LearnerState. learn: (state, segment) -> (state,
  metrics or None before the first update)."""

  init: object
  learn: object


def make(
  spec: Transition,
  encode: Callable[[Array, Array], Array],
  nets: rlt.Networks,
  config: PracticeConfig,
) -> Learner:
  """Builds the learner of one practice.

  Args:
    spec: of `replay.transition_spec`.
    encode: absolute commands and a pose -> normalised chunk.
    nets, config: of the run.
  """
  ring = replay.make_ring(config.replay_capacity, config.update.batch_size)
  fused = rlt.jit_update(nets, ring, config.update, CYCLES)
  rows_of = make_rows(encode, config)
  per_dispatch = CYCLES * config.update.critic_updates_per_actor

  def init(key: PRNGKey, segment: Segment) -> LearnerState:
    return LearnerState(
      train=rlt.init(key, nets, config.update),
      replay=ring.init(spec),
      previous=replay.empty_segment(segment),
      owed=0,
      rows=0,
    )

  def learn(state: LearnerState, segment: Segment):
    rows, keep = rows_of(state.previous, segment)
    stored = int(keep.sum())
    ring_state = ring.add(state.replay, rows, keep)
    train = state.train
    owed = state.owed + stored * config.utd_ratio
    total, metrics = state.rows + stored, []
    if total >= config.learning_starts:
      while owed >= per_dispatch:
        train, step_metrics = fused(train, ring_state)
        metrics.append(step_metrics)
        owed -= per_dispatch
    state = LearnerState(
      train=train, replay=ring_state, previous=segment, owed=owed, rows=total
    )
    jax.block_until_ready(train.actor_params)
    if not metrics:
      return state, None
    metrics = jax.device_get(metrics)
    return state, {
      name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]
    }

  return Learner(init, learn)
