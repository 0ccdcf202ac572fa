"""Episodes in a journal: what was done and seen, tick by tick.

The loop writes as it goes, so that a killed loop loses nothing; what the VLA
answered too late is asked again when the episode is over and written before
its part is closed. Who learns reads whole episodes.
"""

from collections.abc import Iterator
import itertools
import os
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.recording import journal as journal_lib
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.segments import needed, Seen, Step


class Episode(NamedTuple):
  """One part of a journal.

  index: number of its last row, for `read`. begin: what was said at its
  start. outcome: an `EpisodeOutcome`, or None where the writer died. steps,
  seen: as `segments.cut` takes them. end: 'success', 'failure' or 'cut', or
  None for an episode that is not learned from.
  """

  index: int
  begin: Any
  outcome: str | None
  steps: list[Step]
  seen: dict[int, Seen]
  end: str | None


class EpisodeLog:
  """Writes episodes to a journal, one at a time."""

  def __init__(self, journal: Journal):
    self._journal = journal

  def begin(self, **said: Any) -> None:
    """Begins an episode; `said` is JSON, such as the policy's version."""
    self._journal.begin(said)
    self._tick = 0

  def step(self, step: Step) -> int:
    """Adds the next control step and returns its tick, from 0."""
    self._journal.append(
      {
        'command': np.asarray(step.command, np.float64),
        'measured': np.asarray(step.measured, np.float64),
      },
      {'tick': self._tick, 'source': int(step.source)},
    )
    self._tick += 1
    return self._tick - 1

  def seen(self, tick: int, seen: Seen) -> None:
    """Adds what the agent sees at a tick, in any order."""
    arrays = {
      name: np.asarray(getattr(seen, name), np.float32)
      for name in Seen._fields[:-1]
    }
    self._journal.append(arrays, {'tick': tick, 'live': bool(seen.live)})

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

  Of an episode whose writer died before it had asked again, the steps up to
  the last without a gap are kept.

  Args:
    folder: of the journal.
    after: `index` of the last episode that was had; -1 for all.
  """
  rows = journal_lib.tail(folder, after)
  for _, part in itertools.groupby(rows, key=lambda row: row.file_number):
    yield _episode(list(part))


def _episode(rows: list[journal_lib.Row]) -> Episode:
  steps, seen = [], {}
  for row in rows:
    if 'source' in row.meta:
      steps.append(Step(**row.arrays, source=row.meta['source']))
    else:
      seen[row.meta['tick']] = Seen(**row.arrays, live=row.meta['live'])
  outcome = row.end['outcome'] if row.end else None
  end = EpisodeOutcome(outcome).row_end if outcome else 'cut'
  return Episode(row.index, row.begin, outcome, steps, seen, end)


def without_gap(episode: Episode, stride: int) -> tuple[list[Step], str | None]:
  """Returns the steps that were seen without a gap, and how they end.

  Whole episodes come back as they are; one that must be shortened ends in a
  cut, for its end is not among its steps any more.
  """
  steps = episode.steps
  for tick in needed(len(steps), stride):
    if tick not in episode.seen:
      return steps[: max(tick - stride, 0)], episode.end and 'cut'
  return steps, episode.end
