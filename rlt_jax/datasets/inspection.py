"""Says in words what a dataset holds, what is missing, and whether it fits."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from rlt_jax.datasets import (
  columns,
  inspect_cameras,
  inspect_ends,
  inspect_motion,
  mapped_recording,
  opening,
)
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.inspect_cameras import CameraReport
from rlt_jax.datasets.inspect_motion import Finding, MotionReport, Ranges
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.mapped_recording import MappedRecording
from rlt_jax.datasets.mapping import DatasetMapping
from rlt_jax.datasets.recording import Recording
from rlt_jax.datasets.unit_checks import moving_joints
from rlt_jax.sitting import spell

_TEXTS = 5  # instructions that are shown; the rest are counted
_LINES = 30  # faults and notes that are printed; the rest are counted
_RESTS = 1e-3  # of its mean size, or absolute: an entry that never moves


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
  """What to look at.

  mapping: file, or ''. pictures: of each episode and camera, 0 for none.
  episodes: whose pictures are looked at, at most, spread over all.
  """

  mapping: str = ''
  pictures: int = 5
  episodes: int = 50

  def __post_init__(self):
    if self.pictures < 0 or self.pictures == 1:
      raise ValueError(
        f'pictures must be 0, or 2 or more to compare: {self.pictures}.'
      )
    if self.episodes < 1:
      raise ValueError(f'episodes must be at least 1: {self.episodes}.')

  def run(
    self,
    recording: Recording,
    say: Callable[[str], None],
    vla: Any = None,
    station: tuple[Any, Any] | None = None,
  ) -> bool:
    """Prints a report.

    Args:
      recording: the dataset.
      say: prints a line.
      vla: a `FrozenVla` that it should fit, or None.
      station: what `robot.station.load` returns, or None.

    Returns:
      Whether nothing is wrong.

    Raises:
      ValueError: no state or action, or a mapping that cannot be read.
    """
    mapping = mapping_lib.load(self.mapping) if self.mapping else None
    fps = recording.fps or (mapping.fps if mapping else None)
    keys = (mapping.state_key, mapping.action_key) if mapping else (
      columns.find_state(recording), columns.find_action(recording)
    )  # fmt: skip
    for key in keys:
      if key not in recording.vectors:
        raise ValueError(
          f'state_key and action_key must be columns: {key!r} is none of '
          f'{list(recording.vectors)}.'
        )
    skip = mapping.skip_episodes if mapping else ()
    motion = inspect_motion.study(recording, *keys, fps, skip)
    if not motion.readable:
      return _conclude(motion.findings, say)
    for line in _summary(recording, motion, fps):
      say(line)
    for key, ranges in zip(keys, (motion.state, motion.action), strict=True):
      for line in _table(key, recording.vectors[key], ranges):
        say(line)
    ends, notes = inspect_ends.study(
      recording, motion.readable, keys[0], motion.state.span, fps
    )
    if ends:
      say(ends)
    findings = [*motion.findings, *notes]
    if self.pictures and recording.cameras:
      reports, more = inspect_cameras.study(
        recording,
        self._choose(motion.readable),
        self.pictures,
        keys[0],
        motion.state.span,
      )
      findings += more
      for line in _cameras(recording, reports):
        say(line)
    findings += self._fit(recording, mapping, vla, station, say)
    return _conclude(findings, say)

  def _choose(self, readable: Sequence[int]) -> list[int]:
    """Returns the episodes whose pictures are looked at."""
    count = min(self.episodes, len(readable))
    places = np.unique(np.linspace(0, len(readable) - 1, count).astype(int))
    return [readable[i] for i in places] if readable else []

  def _fit(
    self,
    recording: Recording,
    mapping: DatasetMapping | None,
    vla: Any,
    station: tuple[Any, Any] | None,
    say: Callable[[str], None],
  ) -> list[Finding]:
    """Returns what does not fit mapping, VLA and station."""
    is_own = not isinstance(recording, opening.FOREIGN)
    if mapping is None and not is_own:
      text = (
        'Without --mapping units and joints are not checked, and nothing can '
        'be trained on it. --draft=FILE writes a mapping to fill in.'
      )
      return [Finding(text, is_fault=vla is not None or station is not None)]
    findings = []
    mapped = None
    if mapping is not None:
      try:
        mapped = mapped_recording.make(recording, mapping)
        findings += _check_mapped(mapped, say)
      except ValueError as error:
        return [Finding(f'The mapping does not fit: {error}')]
    if vla is not None:
      from rlt_jax.datasets import inspect_fit

      findings += inspect_fit.fit_vla(recording, mapping, vla)
    if station is not None and mapped is None:
      raise ValueError(
        '--station is compared through a mapping: our own .npz files have '
        'none, since they are of the simulator.'
      )
    if station is not None:
      from rlt_jax.datasets import inspect_fit

      findings += inspect_fit.fit_station(mapped, *station)
    return findings


def open_any(path: str | pathlib.Path) -> Recording:
  """Opens a dataset of any format, our own included.

  Raises:
    ValueError: none of the formats, or a damaged dataset.
  """
  recording = opening.open_recording(path)
  if recording is not None:
    return recording
  from rlt_jax.datasets import own_recording

  return own_recording.OwnRecording(path)


def _check_mapped(
  mapped: MappedRecording, say: Callable[[str], None]
) -> Iterator[Finding]:
  say('Mapping:')
  survey = mapped.survey('offset')
  mapped_recording.check(mapped, survey, lambda line: say(f'  {line}'))
  found = survey.motions.agreement()
  rows = mapped.mapping.joints
  for i in np.flatnonzero(moving_joints(rows, found)):
    if found.correlation[i] < 0.5:
      yield Finding(
        f'{rows[i].joint} does not follow its command '
        f'{rows[i].action_entry!r}: their correlation is '
        f'{found.correlation[i]:.2f}. Another joint, or another sign.'
      )


def _summary(
  recording: Recording, motion: MotionReport, fps: float | None
) -> Iterator[str]:
  lengths = np.array([x.length for x in recording.episodes])
  rows = int(lengths.sum())
  rate, total = 'at a rate that it does not say', ''
  if fps is not None:
    rate, total = f'at {fps:g} a second', f', {spell(rows / fps)}'
  yield (
    f'{recording.path}: {recording.kind}, {len(lengths):,} episodes of '
    f'{lengths.min():,} to {lengths.max():,} rows {rate}, {rows:,} rows{total}.'
  )
  texts = Counter(x for e in recording.episodes for x in e.instructions)
  shown = [f'{text!r} ({n})' for text, n in texts.most_common(_TEXTS)]
  more = len(texts) - len(shown)
  yield (
    'Instructions (episodes): '
    + (', '.join(shown) or 'none')
    + (f' and {more} more.' if more > 0 else '.')
  )
  taken, episodes = motion.taken_over
  if taken:
    yield (
      f'A person took over in {episodes:,} episodes, {taken:,} rows. Chunks do '
      'not cross these places.'
    )
  numbers = [x.number for x in recording.episodes]
  gone = sorted(set(range(max(numbers) + 1)) - set(numbers))
  if gone:
    numbers = inspect_motion.shorten(gone)
    yield f'Numbers of episodes that are not there: {numbers}.'
  others = [
    key for key in recording.vectors if key not in format_lib.DEFAULT_FEATURES
  ]
  yield f'Columns: {", ".join(others)}.'
  velocity = columns.find_velocity(recording)
  yield 'Joint velocities: ' + (
    f'{velocity}.' if velocity
    else 'none; the mapping can take differences of the positions.'
  )  # fmt: skip


def _table(key: str, names: Sequence[str], ranges: Ranges) -> Iterator[str]:
  yield f'{key}:'
  width = max(map(len, names))
  heads = ' '.join(f'{x:>10}' for x in ('low', 'high', 'mean', 'deviation'))
  yield f'  {"":{width}} {heads}'
  for i, name in enumerate(names):
    numbers = [x[i] for x in ranges[:4]]
    rests = ranges.span[i] <= _RESTS * max(abs(ranges.mean[i]), _RESTS)
    yield (
      f'  {name:{width}} '
      + ' '.join(f'{x:10.4g}' for x in numbers)
      + ('  never moves' if rests else '')
    )


def _cameras(
  recording: Recording, reports: Sequence[CameraReport]
) -> Iterator[str]:
  yield 'Cameras:'
  for report in reports:
    height, width = recording.cameras[report.key]
    yield (
      f'  {report.key}: {width}x{height}, {report.pictures:,} pictures looked '
      f'at, mean level {report.level:.0f}, deviation {report.contrast:.0f}.'
    )


def _conclude(findings: Sequence[Finding], say: Callable[[str], None]) -> bool:
  """Prints what was found; returns whether nothing is wrong."""
  faults = [x for x in findings if x.is_fault]
  notes = [x for x in findings if not x.is_fault]
  for kind, some in (('WRONG', faults), ('note', notes)):
    for finding in some[:_LINES]:
      say(f'{kind}: {finding.text}')
    if len(some) > _LINES:
      say(f'{kind}: {len(some) - _LINES:,} more of this kind.')
  episodes = sorted({number for x in faults for number in x.episodes})
  if episodes:
    say(f'Episodes with faults, as skip_episodes takes them: {episodes}.')
  if len(faults) == 1:
    say('1 thing is wrong.')
  else:
    say(f'{f"{len(faults):,}" if faults else "No"} things are wrong.')
  return not faults
