"""Episodes in a journal: executed steps, and the agent's features at some.

The control loop writes each step at once, so that a kill loses nothing.
Features that the VLA computed too late are added when the arm holds, before the
file is closed. The learner reads closed files.
"""

from collections.abc import Iterator
import itertools
import os
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.outcomes import EpisodeOutcome, RowEnd
from rlt_jax.robot.recording import journal as journal_lib
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.segments import observed_steps, Step
from rlt_jax.types import Features


class Episode(NamedTuple):
  """One file of a journal: an episode, or its part between two holds.

  index: number of its last row, for `read`. begin: meta of its beginning.
  outcome: how it ended; None where the writer died. steps, features: as
  `segments.cut` takes them. late: steps whose features came during a hold.
  end: how its last replay row ends; None: nothing is learned from it.
  """

  index: int
  begin: Any
  outcome: EpisodeOutcome | None
  steps: list[Step]
  features: dict[int, Features]
  late: set[int]
  end: RowEnd | None


class EpisodeLog:
  """Writes episodes to a journal, one at a time."""

  def __init__(self, journal: Journal):
    self._journal = journal

  def begin(self, **meta: Any) -> None:
    """Begins an episode; `meta` is JSON, such as the policy's version."""
    self._journal.begin(meta)
    self._num_steps = 0

  def step(self, step: Step) -> int:
    """Adds the next control step and returns its number, from 0."""
    self._journal.append(
      {
        'command': np.asarray(step.command, np.float64),
        'measured': np.asarray(step.measured, np.float64),
      },
      {'step': self._num_steps, 'source': int(step.source)},
    )
    self._num_steps += 1
    return self._num_steps - 1

  def features(self, step: int, features: Features, *, late: bool) -> None:
    """Adds the features of a step; the steps may come in any order."""
    arrays = {
      name: np.asarray(value, np.float32)
      for name, value in features._asdict().items()
    }
    self._journal.append(arrays, {'step': step, 'late': bool(late)})

  def end(self, outcome: str) -> None:
    """Closes the episode; it is on the disk when this returns.

    Raises:
      ValueError: the outcome is not an `EpisodeOutcome`.
    """
    if outcome not in set(EpisodeOutcome):
      raise ValueError(
        f'outcome must be one of {[x.value for x in EpisodeOutcome]}: '
        f'{outcome!r}.'
      )
    self._journal.end({'outcome': outcome})


def read(folder: str | os.PathLike[str], after: int = -1) -> Iterator[Episode]:
  """Yields the closed episodes of a journal, in order.

  Args:
    folder: of the journal.
    after: `index` of the last episode that the caller has; -1 for all.
  """
  rows = journal_lib.tail(folder, after)
  for _, group in itertools.groupby(rows, key=lambda row: row.file_number):
    yield _episode(list(group))


def _episode(rows: list[journal_lib.Row]) -> Episode:
  steps, features, late = [], {}, set()
  for row in rows:
    if 'source' in row.meta:
      steps.append(Step(**row.arrays, source=row.meta['source']))
    else:
      features[row.meta['step']] = Features(**row.arrays)
      if row.meta['late']:
        late.add(row.meta['step'])
  outcome = EpisodeOutcome(row.end['outcome']) if row.end else None
  end = RowEnd.CUT if outcome is None else outcome.row_end
  return Episode(row.index, row.begin, outcome, steps, features, late, end)


def without_gap(
  episode: Episode, stride: int
) -> tuple[list[Step], RowEnd | None]:
  """Returns the steps before the first missing features, and how they end.

  Features are missing where the writer died, or the operator took over, before
  a query was retried. Without a gap all steps are returned; with one they end
  in a cut, because the end of the episode is not among them.
  """
  steps = episode.steps
  for step in observed_steps(len(steps), stride):
    if step not in episode.features:
      return steps[: max(step - stride, 0)], episode.end and RowEnd.CUT
  return steps, episode.end
