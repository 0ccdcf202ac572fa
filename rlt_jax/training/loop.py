"""Practice: robots and learner side by side until the robot time is spent.

Each round the robots play one chunk with the newest actor while the learner
works through the round before. That is the paper's asynchronous learner with
a delay of exactly one round, so a run repeats bit for bit and a resumed run
ends where the unbroken one would.
"""

from collections.abc import Callable
import concurrent.futures
import time
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.training import actors as actors_lib
from rlt_jax.training import learner as learner_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Params, Segment

HISTORY = 4096  # ended episodes kept for the running figures


@chex.dataclass(frozen=True)
class PracticeState:
  """Everything a checkpoint needs.

  robots, learner: see their modules. pending: the segment that the learner
  has not seen yet. actor: params that drive the next round. env_steps: int
  control steps driven so far. outcome, length: int32 [HISTORY] of ended
  episodes, -1 where none has ended yet, oldest first out.
  """

  robots: actors_lib.ActorsState
  learner: learner_lib.LearnerState
  pending: Segment
  actor: Params
  env_steps: int
  outcome: np.ndarray
  length: np.ndarray

  def episodes(self) -> Episodes:
    """Returns the ended episodes, oldest first."""
    return to_episodes(self.outcome, self.length)


class Practice(NamedTuple):
  """begin: () -> PracticeState. run: (state, until, on_round) ->
  PracticeState; both deterministic in the config's seed."""

  nets: rlt.Networks
  begin: Callable[[], PracticeState]
  run: Callable[..., PracticeState]


# Called after every round: (state, metrics of the round).
OnRound = Callable[[PracticeState, dict[str, Any]], None]


def make(
  play: RolloutFns, perception: Perception, config: PracticeConfig
) -> Practice:
  """Builds the practice of one task with one perception."""
  nets = rlt.make_networks(
    config.agent, perception.z_dim, perception.proprio_dim, config.chunk_size,
    perception.action_dim,
  )  # fmt: skip
  robots = actors_lib.make(play, perception, nets, config)
  spec = replay.transition_spec(
    perception.z_dim, perception.proprio_dim, config.chunk_size,
    perception.action_dim,
  )  # fmt: skip
  learner = learner_lib.make(spec, perception.space.encode, nets, config)

  def begin() -> PracticeState:
    robots_key, learner_key = jax.random.split(jax.random.PRNGKey(config.seed))
    # The first round is the warm-up's; it gives the learner its shapes.
    state, first = robots.round(robots.begin(robots_key), None)
    learning = learner.init(learner_key, first.segment)
    none = np.full(HISTORY, -1, np.int32)
    return PracticeState(
      robots=state,
      learner=learning,
      pending=first.segment,
      actor=jax.tree.map(np.asarray, learning.train.actor_params),
      env_steps=int(first.steps.sum()),
      outcome=append(none, first.outcome[first.ended]),
      length=append(none, first.length[first.ended]),
    )

  def run(state: PracticeState, until: int, on_round: OnRound) -> PracticeState:
    """Runs rounds until `until` control steps have been driven."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      while state.env_steps < until:
        start = time.perf_counter()
        work = pool.submit(learner.learn, state.learner, state.pending)
        warm = state.env_steps < config.vla_warmup_steps
        try:
          robots_state, report = robots.round(
            state.robots, None if warm else state.actor
          )
        finally:
          learning, metrics = work.result()
        metrics = metrics or {}
        state = PracticeState(
          robots=robots_state,
          learner=learning,
          pending=report.segment,
          # A copy: the learner donates its own.
          actor=jax.tree.map(np.asarray, learning.train.actor_params),
          env_steps=state.env_steps + int(report.steps.sum()),
          outcome=append(state.outcome, report.outcome[report.ended]),
          length=append(state.length, report.length[report.ended]),
        )
        if metrics.get('finite', 1.0) < 1.0:
          raise FloatingPointError(
            'Losses and parameters must stay finite: step '
            f'{state.env_steps}, {metrics}.'
          )
        metrics['round_s'] = time.perf_counter() - start
        metrics['phase'] = 'warm-up' if warm else 'practice'
        on_round(state, metrics)
    return state

  return Practice(nets, begin, run)


def to_episodes(outcome: np.ndarray, length: np.ndarray) -> Episodes:
  """Returns what a history of outcomes and lengths holds, oldest first."""
  known = outcome >= 0
  return Episodes(
    success=outcome[known] == insertion.Outcome.SUCCESS,
    steps=length[known],
    outcome=outcome[known],
  )


def append(history: np.ndarray, new: np.ndarray) -> np.ndarray:
  """Returns the history with the newest at its end and as long as before."""
  return np.concatenate([history, new.astype(history.dtype)])[-len(history) :]
