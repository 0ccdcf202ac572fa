"""Episodes in a journal: executed steps, and the agent's features at some.

An episode is one file, so that its outcome holds for all of it. Each hold in it
ends a recording and the next command begins another: the steps of a recording
follow each other without a pause. The control loop writes each step at once, so
that a kill loses nothing that was written. Features that the VLA computed too
late are added while the arm holds. The learner reads closed files.
"""

from collections.abc import Iterator
import itertools
import os
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.outcomes import EpisodeOutcome, RowEnd
from rlt_jax.robot.recording import journal as journal_lib
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.segments import (
  needed_steps,
  observed_steps,
  Step,
)
from rlt_jax.types import Features

NO_ROW = 'gave no row: the answers of the VLA are missing'


class Recording(NamedTuple):
  """Steps between two holds.

  steps, features: as `segments.cut` takes them, features with gaps. late: steps
  whose features came during a hold.
  """

  steps: list[Step]
  features: dict[int, Features]
  late: set[int]


class Episode(NamedTuple):
  """One file of a journal.

  index: number of its last row, for `read`. file_number: of the file. begin:
  meta of its beginning, with 'bundle', see `policy.bundle.digest`; a version
  before this one wrote none. outcome: how it ended; None where the writer died.
  recordings: in order; at least one. waited: control steps in which the arm
  stood still for a chunk; a version before this one wrote none.
  """

  index: int
  file_number: int
  begin: Any
  outcome: EpisodeOutcome | None
  recordings: list[Recording]
  waited: int = 0

  @property
  def num_steps(self) -> int:
    """Control steps of all recordings, without those that waited."""
    return sum(len(x.steps) for x in self.recordings)

  @property
  def end(self) -> RowEnd | None:
    """How its last replay row ends; None: nothing is learned from it."""
    return RowEnd.CUT if self.outcome is None else self.outcome.row_end


class Part(NamedTuple):
  """Steps that can be learned from, without hold and without gap.

  steps, features, end: as `segments.cut` takes them. late: how many of the
  steps have features that came during a hold.
  """

  steps: list[Step]
  features: dict[int, Features]
  end: RowEnd
  late: int


class EpisodeLog:
  """Writes episodes to a journal, one at a time."""

  def __init__(self, journal: Journal, **meta: Any):
    """Writes nothing; `meta` is JSON that each episode begins with."""
    self._journal, self._meta = journal, meta

  def begin(self, **meta: Any) -> None:
    """Begins an episode.

    Args:
      **meta: JSON, such as the policy's version; 'waited' are the control steps
        that waited before its first step.
    """
    self._journal.begin(self._meta | meta)

  def step(self, recording: int, step: Step) -> None:
    """Adds the next control step of a recording, which counts from 0."""
    self._journal.append(
      {
        'command': np.asarray(step.command, np.float64),
        'measured': np.asarray(step.measured, np.float64),
      },
      {'recording': recording, 'source': int(step.source)},
    )

  def wait(self) -> None:
    """Adds a control step in which the arm stood still for a chunk."""
    self._journal.append({}, {'waited': 1})

  def features(
    self, recording: int, step: int, features: Features, *, late: bool
  ) -> None:
    """Adds the features of a recording's step, in any order."""
    arrays = {
      name: np.asarray(value, np.float32)
      for name, value in features._asdict().items()
      if value is not None
    }
    meta = {'recording': recording, 'step': step, 'late': bool(late)}
    self._journal.append(arrays, meta)

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

  Raises:
    JournalError: a file is damaged, or `after` is in the middle of one, which
      is another one than the caller has read; the episodes before it were
      yielded.
  """
  for entry in journal_lib.unread_files(folder, after):
    if rows := list(journal_lib.read_rows(entry, after)):
      if rows[0].index > entry.first:
        raise JournalError(
          f'{entry.path} must begin after the last row that was read, {after}: '
          f'it begins with {entry.first}. It is another file than was read.'
        )
      yield _episode(rows)


def _episode(rows: list[journal_lib.Row]) -> Episode:
  found: dict[int, Recording] = {}
  waited = rows[0].begin.get('waited', 0)
  for row in rows:
    if 'waited' in row.meta:
      waited += row.meta['waited']
      continue
    recording = found.setdefault(
      row.meta['recording'], Recording([], {}, set())
    )
    if 'source' in row.meta:
      recording.steps.append(Step(**row.arrays, source=row.meta['source']))
    else:
      recording.features[row.meta['step']] = Features(**row.arrays)
      if row.meta['late']:
        recording.late.add(row.meta['step'])
  outcome = EpisodeOutcome(row.end['outcome']) if row.end else None
  recordings = [found[number] for number in sorted(found)]
  return Episode(
    row.index, row.file_number, row.begin, outcome, recordings, waited
  )


def learnable_parts(episode: Episode, stride: int) -> list[Part]:
  """Returns what can be learned from an episode, in order.

  Features are missing where the writer died, or the VLA or a camera was away
  for good. A gap ends a part, and the next known features begin another. Every
  part ends in a cut but the last one, where it reaches the episode's end.
  """
  if episode.end is None:
    return []
  parts = []
  for recording in episode.recordings:
    is_last = recording is episode.recordings[-1]
    end = episode.end if is_last else RowEnd.CUT
    parts += _split(recording, stride, end)
  return parts


def describe_loss(episode: Episode, stride: int) -> str:
  """Returns what of an episode the learner must do without, or ''."""
  if episode.end is None:
    return ''
  if not episode.num_steps:
    counted = episode.outcome is not None and episode.outcome.counted
    return 'gave no row: no step of it was recorded' if counted else ''
  parts = learnable_parts(episode, stride)
  if not parts:
    return NO_ROW
  if parts[-1].end != episode.end:
    return 'lost its label: what was seen before it is missing'
  return ''


def _split(recording: Recording, stride: int, end: RowEnd) -> Iterator[Part]:
  """Yields the parts of a recording between gaps in its features."""
  steps, known = recording.steps, recording.features
  needed = needed_steps(len(steps), stride, end)
  for is_known, run in itertools.groupby(needed, key=known.__contains__):
    if not is_known:
      continue
    first, *rest = run
    last = rest[-1] if rest else first
    whole = last == needed[-1]
    stop = len(steps) if whole else last
    if stop > first:
      yield _part(recording, first, stop, stride, end if whole else RowEnd.CUT)


def _part(
  recording: Recording, first: int, stop: int, stride: int, end: RowEnd
) -> Part:
  seen = [
    first + step
    for step in observed_steps(stop - first, stride)
    if first + step in recording.features
  ]
  return Part(
    recording.steps[first:stop],
    {step - first: recording.features[step] for step in seen},
    end,
    len(recording.late.intersection(range(first, stop))),
  )
