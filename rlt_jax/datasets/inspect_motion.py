"""Finds joints and episodes that look wrong, one episode at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rlt_jax.datasets.recording import Recording

# Of a joint's span over the dataset: a step this large, and many times the
# mean step, is a jump.
_JUMP_SHARE, _JUMP_TIMES = 0.25, 20.0
# Of the span: a command that moves this far moves its joint, too.
_COMMANDED_SHARE = 0.2
_STILL_SHARE = 0.01  # of the span: less is no motion
_FROZEN_S = 1.0  # all numbers the same for as long, while commands change
_FROZEN_ROWS = 20  # where the rate is not known
_SHORT_S, _SHORT_ROWS = 1.0, 10
_NAMED = 10  # episodes that a message names; the rest are counted


class Finding(NamedTuple):
  """What stands out; `is_fault` where a training would refuse it or suffer.

  episodes: their numbers, where it is of some and not of the dataset.
  """

  text: str
  is_fault: bool = True
  episodes: tuple[int, ...] = ()


class Ranges(NamedTuple):
  """Of all rows, per entry: low, high, mean, deviation, mean step; all [n]."""

  low: np.ndarray
  high: np.ndarray
  mean: np.ndarray
  deviation: np.ndarray
  step: np.ndarray

  @property
  def span(self) -> np.ndarray:
    """High less low."""
    return self.high - self.low


class MotionReport(NamedTuple):
  """What the numbers of a dataset hold.

  state, action: of their columns. readable: indices of the episodes that can be
  read. taken_over: how many rows a person drove, and how many episodes have
  some. findings: in order of episodes.
  """

  state: Ranges
  action: Ranges
  readable: tuple[int, ...]
  taken_over: tuple[int, int]
  findings: tuple[Finding, ...]


class _Sums:
  """Collects `Ranges` episode by episode."""

  def __init__(self, size: int):
    self._low = np.full(size, np.inf)
    self._high = np.full(size, -np.inf)
    self._sums = np.zeros((3, size))  # x, x^2, |step|
    self._rows = self._steps = 0

  def add(self, rows: np.ndarray) -> None:
    """Adds an episode [T, n]."""
    rows = rows.astype(np.float64)
    self._low = np.minimum(self._low, rows.min(axis=0))
    self._high = np.maximum(self._high, rows.max(axis=0))
    steps = np.abs(np.diff(rows, axis=0))
    self._sums += np.stack([
      rows.sum(axis=0), np.square(rows).sum(axis=0), steps.sum(axis=0)
    ])  # fmt: skip
    self._rows += len(rows)
    self._steps += len(steps)

  def ranges(self) -> Ranges:
    """Returns the ranges of all that was added."""
    x, xx = self._sums[:2] / max(self._rows, 1)
    return Ranges(
      self._low,
      self._high,
      x,
      np.sqrt(np.maximum(xx - x * x, 0.0)),
      self._sums[2] / max(self._steps, 1),
    )


def study(
  recording: Recording,
  state_key: str,
  action_key: str,
  fps: float | None,
  skip: Sequence[int] = (),
) -> MotionReport:
  """Reads all numbers twice: for the ranges, then for what leaves them.

  Args:
    recording: the dataset.
    state_key, action_key: columns.
    fps: rows a second; None where it is not known.
    skip: numbers of episodes to leave out.
  """
  keys = [state_key, action_key]
  sums = [_Sums(len(recording.vectors[key])) for key in keys]
  readable, findings = [], []
  rows_taken = episodes_taken = 0
  for index, episode in enumerate(recording.episodes):
    if episode.number in skip:
      continue
    try:
      columns = recording.read_vectors(index, keys)
      taken = recording.read_interventions(index)
      if not len(taken):
        raise ValueError('it has no rows.')
    except ValueError as error:
      text = f'Episode {episode.number} is unreadable: {error}'
      findings.append(Finding(text, episodes=(episode.number,)))
      continue
    try:
      recording.check_times(index)
    except ValueError as error:
      text = f'Episode {episode.number} has gaps: {error}'
      findings.append(Finding(text, episodes=(episode.number,)))
    for key, one in zip(keys, sums, strict=True):
      one.add(columns[key])
    readable.append(index)
    rows_taken += int(taken.sum())
    episodes_taken += bool(taken.any())
  state, action = (one.ranges() for one in sums)
  limit = _SHORT_ROWS if fps is None else _SHORT_S * fps
  lengths = {i: recording.episodes[i].length for i in readable}
  findings += _find_short(recording, lengths, limit, fps)
  for index in readable:
    if lengths[index] < limit:
      continue
    columns = recording.read_vectors(index, keys)
    texts = _study_episode(
      *(columns[key].astype(np.float64) for key in keys),
      ranges=(state, action),
      names=recording.vectors[state_key],
      fps=fps,
    )
    number = recording.episodes[index].number
    findings += [
      Finding(f'Episode {number}: {text}', episodes=(number,)) for text in texts
    ]
  return MotionReport(
    state, action, tuple(readable), (rows_taken, episodes_taken),
    tuple(findings),
  )  # fmt: skip


def _find_short(
  recording: Recording,
  lengths: Mapping[int, int],
  limit: float,
  fps: float | None,
) -> Iterator[Finding]:
  """Yields one finding on all episodes that are too short.

  Args:
    recording: the dataset.
    lengths: rows by the episode's index.
    limit: rows that an episode must have.
    fps: rows a second, or None.
  """
  short = [index for index, length in lengths.items() if length < limit]
  if not short:
    return
  numbers = tuple(recording.episodes[index].number for index in short)
  least, most = (f([lengths[i] for i in short]) for f in (min, max))
  seconds = '' if fps is None else f', {most / fps:.2f} s'
  if len(short) == 1:
    text = f'Episode {numbers[0]}: it ends after {most} rows{seconds}'
  else:
    text = (
      f'{len(short):,} episodes end after {least} to {most} rows{seconds}: '
      f'{shorten(numbers)}'
    )
  yield Finding(f'{text}, too soon to show a task.', episodes=numbers)


def shorten(numbers: Sequence[int]) -> str:
  """Returns numbers as a list for a message."""
  text = ', '.join(map(str, numbers[:_NAMED]))
  more = len(numbers) - _NAMED
  return text + (f' and {more} more' if more > 0 else '')


def _study_episode(
  state: np.ndarray,
  action: np.ndarray,
  *,
  ranges: tuple[Ranges, Ranges],
  names: Sequence[str],
  fps: float | None,
) -> Iterator[str]:
  """Yields what stands out in an episode [T, n]."""
  spans = np.maximum(ranges[0].span, np.finfo(float).tiny)
  moved = np.ptp(state, axis=0)
  if (moved <= _STILL_SHARE * spans).all():
    yield 'nothing moves from its first row to its last.'
    return
  yield from _find_jumps(state, ranges[0], names)
  if state.shape != action.shape:
    return  # which command is of which joint is for the mapping to say
  commanded = np.ptp(action, axis=0)
  is_stuck = (moved <= _STILL_SHARE * spans) & (
    commanded > _COMMANDED_SHARE * np.maximum(ranges[1].span, 1e-12)
  )
  for i in np.flatnonzero(is_stuck & (ranges[1].span > 0.0)):
    yield (
      f'{names[i]} is stuck: it moves by {moved[i]:.3g} while its command '
      f'moves by {commanded[i]:.3g}.'
    )
  longest, start = _longest_frozen(state, action)
  if longest >= (_FROZEN_ROWS if fps is None else _FROZEN_S * fps):
    yield (
      f'all joints read the same for {longest} rows from row {start} on, while '
      'their commands change: the readings were frozen.'
    )


def _find_jumps(
  state: np.ndarray, ranges: Ranges, names: Sequence[str]
) -> Iterator[str]:
  steps = np.abs(np.diff(state, axis=0))
  limit = np.maximum(_JUMP_SHARE * ranges.span, _JUMP_TIMES * ranges.step)
  for i in np.flatnonzero((steps > limit).any(axis=0) & (ranges.span > 0.0)):
    row = int(np.argmax(steps[:, i]))
    yield (
      f'{names[i]} jumps by {steps[row, i]:.3g} between rows {row} and '
      f'{row + 1}; its mean step is {ranges.step[i]:.2g}.'
    )


def _longest_frozen(state: np.ndarray, action: np.ndarray) -> tuple[int, int]:
  """Returns rows and first row of the longest freeze despite commands."""
  same = (np.diff(state, axis=0) == 0.0).all(axis=1)
  edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
  best = (0, 0)
  for start, stop in zip(edges[::2], edges[1::2], strict=True):
    changes = np.ptp(action[start : stop + 1], axis=0).max() > 0.0
    if changes and stop + 1 - start > best[0]:
      best = (int(stop + 1 - start), int(start))
  return best
