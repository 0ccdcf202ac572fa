"""Algorithm 1: environments and learner run concurrently.

In each round the environments execute one chunk with the newest policy while
the learner processes the previous round. That is the paper's asynchronous
learner with a delay of exactly one round, so a run repeats bit for bit and a
resumed run ends where the unbroken one would.
"""

from collections.abc import Callable
import concurrent.futures
import time
from typing import Any

import chex
import jax
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.training.actors import Actors, ActorsState
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.learner import Learner, LearnerState
from rlt_jax.types import Array, Outcome, Params, Segment

HISTORY = 4096  # ended episodes kept for the running figures
_LONGEST_WARMUP = 3  # times vla_warmup_steps, where successes are few


@chex.dataclass(frozen=True)
class PracticeState:
  """Everything a checkpoint needs.

  actors, learner: see their modules. pending: the segment that the learner has
  not seen yet. It reaches replay two rounds after it began: one round because
  learner and environments run side by side, one because its last rows end in
  the segment that follows (`LearnerState.previous`). policy: the agent's params
  that drive the next round. env_steps: int control steps so far. outcome,
  length: int32 [HISTORY] of ended episodes, newest last, -1 where none has
  ended yet.
  """

  actors: ActorsState
  learner: LearnerState
  pending: Segment
  policy: Params
  env_steps: int
  outcome: np.ndarray
  length: np.ndarray

  def episodes(self) -> Episodes:
    """Returns the ended episodes, oldest first."""
    return to_episodes(self.outcome, self.length)


# Called after every round: (state, metrics of the round).
OnRound = Callable[[PracticeState, dict[str, Any]], None]


class Practice:
  """Practice of one task; deterministic in the config's seed."""

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    agent: Agent,
    config: PracticeConfig,
    human: SimulatedHuman | None = None,
  ):
    """Binds task, agent, settings and who helps; holds no state."""
    self._agent, self._config = agent, config
    self._actors = Actors(rollout, perception, agent, config, human=human)
    self._learner = Learner(agent, perception.space.encode, config)

  def init(self) -> PracticeState:
    """Returns the state after the first round, which the VLA drives.

    That round gives the learner its shapes.
    """
    key = jax.random.PRNGKey(self._config.seed)
    actors_key, learner_key = jax.random.split(key)
    actors_state, first = self._actors.collect(
      self._actors.init(actors_key), None
    )
    learner_state = self._learner.init(learner_key, first.segment)
    none = np.full(HISTORY, -1, np.int32)
    return PracticeState(
      actors=actors_state,
      learner=learner_state,
      pending=first.segment,
      policy=self._policy(learner_state),
      env_steps=int(first.steps.sum()),
      outcome=append(none, first.outcome[first.ended]),
      length=append(none, first.length[first.ended]),
    )

  def compile(self, state: PracticeState) -> None:
    """Compiles what a round will run; the state does not change.

    A round consumes the learner's state and cannot be given up: nothing that
    lasts may be left to it.
    """
    self._learner.compile(state.learner, state.pending)

  def run(
    self, state: PracticeState, until: int, on_round: OnRound
  ) -> PracticeState:
    """Runs rounds until `until` control steps have been made.

    Raises:
      FloatingPointError: a loss or parameter is no longer finite.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      while state.env_steps < until:
        start = time.perf_counter()
        warmup = bool(in_warmup(self._config, state.env_steps, state.outcome))
        state, metrics = self._round(pool, state, warmup)
        metrics['round_s'] = time.perf_counter() - start
        metrics['phase'] = 'warm-up' if warmup else 'practice'
        on_round(state, metrics)
    return state

  def _round(
    self, pool: concurrent.futures.Executor, state: PracticeState, warmup: bool
  ) -> tuple[PracticeState, dict[str, Any]]:
    learning = pool.submit(self._learner.learn, state.learner, state.pending)
    try:
      actors_state, output = self._actors.collect(
        state.actors, None if warmup else state.policy
      )
    finally:
      learner_state, metrics = learning.result()
    metrics = (metrics or {}) | {'diverged_worlds': int(output.diverged.sum())}
    if state.actors.human is not None:
      metrics['human_steps'] = output.human_steps
    state = PracticeState(
      actors=actors_state,
      learner=learner_state,
      pending=output.segment,
      policy=self._policy(learner_state),
      env_steps=state.env_steps + int(output.steps.sum()),
      outcome=append(state.outcome, output.outcome[output.ended]),
      length=append(state.length, output.length[output.ended]),
    )
    if metrics.get('finite', 1.0) < 1.0:
      raise FloatingPointError(
        'Losses and parameters must stay finite: step '
        f'{state.env_steps}, {metrics}.'
      )
    return state, metrics

  def _policy(self, state: LearnerState) -> Params:
    # A copy, since the learner donates its params to the next update.
    return jax.tree.map(np.asarray, self._agent.policy_params(state.agent))


def in_warmup(
  config: PracticeConfig, env_steps: Array, outcome: np.ndarray
) -> np.ndarray:
  """Returns whether the VLA drives the next round, bool [...].

  Critics that have seen no success are the same everywhere, and an actor that
  follows them leaves what the VLA does for nothing.

  Args:
    config: of the run.
    env_steps: [...] control steps so far.
    outcome: [..., HISTORY] of ended episodes, see `PracticeState`.
  """
  successes = (outcome == Outcome.SUCCESS).sum(axis=-1)
  few = successes < config.vla_warmup_successes
  return env_steps < config.vla_warmup_steps * np.where(few, _LONGEST_WARMUP, 1)


def check_whole(state: PracticeState) -> None:
  """Raises RuntimeError if a round that ended in a fault consumed the state."""
  for leaf in jax.tree.leaves(state):
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
      raise RuntimeError(
        'A state to save must be of a complete round: the last one ended in a '
        'fault. The run can be resumed from its last checkpoint.'
      )


def to_episodes(outcome: np.ndarray, length: np.ndarray) -> Episodes:
  """Returns what a history of outcomes and lengths holds, oldest first."""
  ended = outcome >= 0
  return Episodes(
    success=outcome[ended] == Outcome.SUCCESS,
    steps=length[ended],
    outcome=outcome[ended],
  )


def append(history: np.ndarray, new: np.ndarray) -> np.ndarray:
  """Returns the history with the newest at its end and as long as before."""
  return np.concatenate([history, new.astype(history.dtype)])[-len(history) :]
