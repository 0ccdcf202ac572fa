"""Moments of a practice at which an agent's learned values are diagnosed.

They are the hand-over from the VLA to the actor, every half robot minute after
it, and each evaluation. The newest replay rows serve as they are: nothing is
drawn, and what is learned does not depend on it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlt_jax.replay import returns
from rlt_jax.training import loop as loop_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.experiment import Experiment
from rlt_jax.training.learner import LearnerState

_NAME = 'values'  # in the record
_EVERY_MINUTES = 0.5
# Rows that tell how episodes ended, and one of how many is judged: 80 robot
# seconds, and about 0.1 s of computing.
_ROWS, _EVERY_ROW = 2048, 2


def diagnose(
  experiment: Experiment,
  metrics: Mapping[str, Any],
  learner: Callable[[], LearnerState],
) -> None:
  """Adds a moment to the record, if one is due and the agent has values.

  An exception in the agent's code is said once and ends no run.

  Args:
    experiment: of the run, after a round.
    metrics: of the round.
    learner: () -> the learner's state after the round; it is only read.
  """
  agent, config = experiment.shared.setup.agent, experiment.config
  if agent.diagnose_values is None or metrics['phase'] == 'warm-up':
    return
  progress, record = experiment.progress, experiment.record
  # A resumed run comes to later moments once more.
  before = [
    moment
    for moment in record.data.get(_NAME, [])
    if moment['env_steps'] < progress.env_steps
  ]
  if not is_due(config, progress.env_steps, before):
    return
  state = learner()
  try:
    numbers = dict(
      agent.diagnose_values(state.agent, newest_rows(state, config))
    )
  except Exception as error:  # an agent's own code may raise anything
    numbers = {}
    if not before:
      print()  # ends the live line
      experiment.print_line(
        'The agent cannot judge its values, and the run goes on: '
        f'{type(error).__name__}: {error}'
      )
  moment = {
    'env_steps': progress.env_steps,
    'robot_minutes': config.minutes(progress.env_steps),
    **_new_episodes(progress.episodes.success, before),
  }
  record.put(_NAME, [*before, moment | numbers])


def newest_rows(
  state: LearnerState, config: PracticeConfig
) -> returns.Experience:
  """Returns the rows of a run that are judged."""
  # The rows of the last round end in the next one.
  num_open = config.num_envs * config.chunk_size // config.replay_stride
  return returns.newest(
    state.replay, _ROWS, num_open=num_open, every=_EVERY_ROW
  )


def is_due(
  config: PracticeConfig, steps: int, before: list[dict[str, Any]]
) -> bool:
  """Returns whether there is a moment after the last one, up to `steps`.

  Args:
    config: of the run.
    steps: control steps so far, beyond the warm-up.
    before: the moments so far.
  """
  if not before:
    return True
  last, per_minute = before[-1]['env_steps'], 60 * config.task.control_hz
  every = _EVERY_MINUTES * per_minute
  marks = (
    min(round(m * per_minute), config.num_env_steps) for m in config.marks()
  )
  return steps // every > last // every or any(
    last < mark <= steps for mark in marks
  )


def columns(experiment: Experiment) -> dict[str, list[Any]]:
  """Returns the moments of a run, each number as a list over them."""
  moments = experiment.record.data.get(_NAME, [])
  names = dict.fromkeys(name for moment in moments for name in moment)
  names.pop('episodes_so_far', None)
  return {name: [moment.get(name) for moment in moments] for name in names}


def _new_episodes(
  success: np.ndarray, before: list[dict[str, Any]]
) -> dict[str, Any]:
  """Returns number and success of the episodes since the last moment.

  Args:
    success: bool [M] of the episodes so far, at most `loop.HISTORY` of them.
    before: the moments so far.
  """
  so_far = len(success)
  new = success[before[-1]['episodes_so_far'] if before else 0 :]
  # From there on the history forgets, and how many are new is not known.
  known = so_far < loop_lib.HISTORY
  return {
    'episodes_so_far': so_far,
    'episodes': len(new) if known else None,
    'success': float(np.mean(new)) if known and len(new) else None,
  }
