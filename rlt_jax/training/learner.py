"""The learner: stores rows and updates the agent at a fixed ratio."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import replay
from rlt_jax.agents.agent import Agent
from rlt_jax.replay import ReplayState
from rlt_jax.types import Array, PRNGKey, Segment, Transition


class LearnerConfig(Protocol):
  """The settings of a run that the learner reads; see `PracticeConfig`."""

  gamma: float  # discount of a control step
  replay_stride: int  # control steps between row starts
  intervention_reference: str  # of `types.INTERVENTION_REFERENCES`
  replay_capacity: int  # rows
  learning_starts: int  # rows stored before the first update
  utd_ratio: int  # updates per stored row


@chex.dataclass(frozen=True)
class LearnerState:
  """State of the learner between two segments.

  agent, replay: see their packages. previous: the last segment; a row that
  starts in it ends in the next one. pending_updates: int, not done yet.
  rows: int rows stored so far.
  """

  agent: Any
  replay: ReplayState
  previous: Segment
  pending_updates: int
  rows: int


class Learner:
  """Builds rows from segments, stores them and updates the agent."""

  def __init__(
    self,
    agent: Agent,
    encode: Callable[[Array, Array], Array],
    config: LearnerConfig,
  ):
    """Binds the learner to one agent; holds no state.

    Args:
      agent: the agent to update.
      encode: absolute commands [C, A] and a pose [A] -> normalized chunk.
      config: of the run.
    """
    self._agent, self._config = agent, config
    self._ring = replay.make_ring(
      config.replay_capacity, agent.batch_size, vla_share=agent.vla_share
    )
    self._update = jax.jit(self._update_agent, donate_argnums=0)
    self._encode = encode
    self._build_rows = jax.jit(self._rows_of)

  def init(self, key: PRNGKey, segment: Segment) -> LearnerState:
    """Returns the state before the first segment, which gives its shapes.

    The key is consumed.
    """
    return LearnerState(
      agent=self._agent.init(key),
      replay=self._ring.init(self._agent.row_spec),
      previous=replay.empty_segment(segment),
      pending_updates=0,
      rows=0,
    )

  def learn(
    self, state: LearnerState, segment: Segment | None
  ) -> tuple[LearnerState, dict[str, float] | None]:
    """Stores the rows that start in the previous segment and updates.

    Args:
      state: consumed.
      segment: the next one of the same environments. None means that none
        follows: the last rows are stored at once.

    Returns:
      The state, and the mean metrics of the updates; None if none was made.
    """
    agent, config = self._agent, self._config
    rows, keep = self._build_rows(state.previous, segment)
    num_stored = int(keep.sum())
    replay_state = self._ring.add(state.replay, rows, keep)
    agent_state, metrics = state.agent, []
    pending = state.pending_updates + num_stored * config.utd_ratio
    total = state.rows + num_stored
    if total >= config.learning_starts:
      while pending >= agent.updates_per_dispatch:
        agent_state, step_metrics = self._update(agent_state, replay_state)
        metrics.append(step_metrics)
        pending -= agent.updates_per_dispatch
    if segment is None:
      segment = replay.empty_segment(state.previous)
    state = LearnerState(
      agent=agent_state,
      replay=replay_state,
      previous=segment,
      pending_updates=pending,
      rows=total,
    )
    jax.block_until_ready(agent.policy_params(agent_state))
    return state, mean_metrics(jax.device_get(metrics))

  def compile(self, state: LearnerState, segment: Segment) -> None:
    """Compiles what `learn` runs; the state is not consumed."""
    rows, keep = self._build_rows(state.previous, segment)
    agent_state, replay_state = copied((state.agent, state.replay))
    replay_state = self._ring.add(replay_state, rows, keep)
    jax.block_until_ready(self._update(agent_state, replay_state))

  def _update_agent(self, agent_state: Any, replay_state: ReplayState):
    return self._agent.update(agent_state, replay_state, self._ring.sample)

  def _rows_of(
    self, previous: Segment, segment: Segment | None
  ) -> tuple[Transition, Array]:
    config = self._config
    rows, keep = replay.build_rows(
      previous,
      segment,
      encode=self._encode,
      gamma=config.gamma,
      stride=config.replay_stride,
      intervention_reference=config.intervention_reference,
    )
    return replay.select_fields(rows, self._agent.row_spec), keep


def copied(tree: Any) -> Any:
  """Returns the tree with JAX arrays of its own, to be donated."""
  return jax.tree.map(
    lambda x: jnp.copy(x) if isinstance(x, jax.Array) else x, tree
  )


def mean_metrics(
  metrics: list[Mapping[str, Array]],
) -> dict[str, float] | None:
  """Returns the mean of each metric over dispatches; None for no dispatch."""
  if not metrics:
    return None
  return {
    name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]
  }
