"""A recording through its mapping: checked, and in the robot's units."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import NamedTuple

import numpy as np

from rlt_jax.datasets import chunks, pictures, unit_checks
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.mapping import DatasetMapping, DIFFERENCES
from rlt_jax.datasets.recording import RecordedEpisode, Recording
from rlt_jax.datasets.unit_checks import Motions

_REMAINING = 6  # entries of remaining_motion


class Motion(NamedTuple):
  """The numbers of an episode of T rows, in the robot's units.

  position, velocity, command: float32 [T, A]. ends: [T] see `chunks.find_runs`.
  remaining_motion: float32 [T, 6], or None.
  """

  position: np.ndarray
  velocity: np.ndarray
  command: np.ndarray
  ends: np.ndarray
  remaining_motion: np.ndarray | None


class Survey(NamedTuple):
  """What a pass over all rows found.

  motions: as recorded. first: [2, A] state and action of the first row, in the
  robot's units. action_scale: [A] rad or m per unit.
  """

  motions: Motions
  first: np.ndarray
  action_scale: tuple[float, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class MappedRecording:
  """Episodes in the robot's joints, units and cameras.

  recording, mapping: that fit each other.
  kept: indices of the recording's episodes that are not left out.
  """

  recording: Recording
  mapping: DatasetMapping
  kept: tuple[int, ...]

  @property
  def fps(self) -> float:
    """Rows a second."""
    return self.recording.fps or self.mapping.fps

  def episode(self, number: int) -> RecordedEpisode:
    """Returns what is known of a kept episode."""
    return self.recording.episodes[self.kept[number]]

  def instruction(self, number: int) -> str:
    """Returns the text of a kept episode.

    Raises:
      ValueError: it has none, or several.
    """
    if self.mapping.instruction is not None:
      return self.mapping.instruction
    episode = self.episode(number)
    if len(set(episode.instructions)) != 1:
      raise ValueError(
        f'An episode must have one instruction: {list(episode.instructions)} '
        f'in episode {episode.number} of {self.recording.path}. Leave it out '
        'with skip_episodes of the mapping, or give the mapping an instruction.'
      )
    return episode.instructions[0]

  def read(self, number: int) -> Motion:
    """Returns the numbers of a kept episode.

    Raises:
      ValueError: damaged files, or rows that are missing or out of time.
    """
    recording, mapping = self.recording, self.mapping
    index = self.kept[number]
    recording.check_times(index)
    keys = [mapping.state_key, mapping.action_key]
    if mapping.velocities != DIFFERENCES:
      keys.append(mapping.velocities)
    if mapping.remaining_motion is not None:
      keys.append(mapping.remaining_motion)
    columns = recording.read_vectors(index, keys)
    rows, state_names = mapping.joints, recording.vectors[mapping.state_key]
    position = mapping_lib.convert(
      columns[mapping.state_key], state_names, rows
    )
    ends = chunks.find_runs(recording.read_interventions(index))
    if mapping.velocities == DIFFERENCES:
      velocity = chunks.differences(position, ends, self.fps)
    else:
      velocity = mapping_lib.convert(
        columns[mapping.velocities], state_names, rows, rate=True
      )
    remaining = columns.get(mapping.remaining_motion)
    return Motion(
      position=position,
      velocity=velocity,
      command=mapping_lib.convert(
        columns[mapping.action_key],
        recording.vectors[mapping.action_key],
        rows,
        action=True,
      ),
      ends=ends,
      remaining_motion=None if remaining is None else np.float32(remaining),
    )

  def read_images(
    self, number: int, camera: str, rows: np.ndarray, size: tuple[int, int]
  ) -> Iterator[np.ndarray]:
    """Yields pictures uint8 [*size, 3] of increasing rows [B].

    Args:
      number: of a kept episode.
      camera: the VLA's name.
      rows: of the episode.
      size: height and width, pixels.
    """
    (row,) = [x for x in self.mapping.cameras if x.camera == camera]
    found = self.recording.read_images(self.kept[number], row.key, rows)
    for picture in found:
      if self.mapping.color_order == 'bgr':
        picture = picture[..., ::-1]
      yield pictures.fit(picture, size, row.crop)

  def check_videos(self, cameras: Sequence[str]) -> None:
    """Decodes the first and the last picture of each video that is needed.

    Args:
      cameras: the VLA's names.

    Raises:
      ValueError: a video that does not decode, by its file.
    """
    for row in self.mapping.cameras:
      if row.camera in cameras:
        for episode, place in self.recording.video_ends(row.key, self.kept):
          rows = np.array([place])
          for _ in self.recording.read_images(episode, row.key, rows):
            pass

  def survey(self, mode: str) -> Survey:
    """Reads all numbers once: ranges, agreement, and the unit of an action.

    Args:
      mode: of the actions, see `chunks.MODES`.

    Raises:
      ValueError: damaged files, or no run as long as a chunk.
    """
    rows = self.mapping.joints
    motions = Motions(len(rows))
    unit = chunks.UnitFit([row.robot_unit for row in rows], mode)
    first = None
    slope, shift = np.array([row.line() for row in rows]).T
    for number in range(len(self.kept)):
      motion = self.read(number)
      motions.add(
        (motion.position - shift) / slope, (motion.command - shift) / slope
      )
      commands, valid = chunks.cut(
        motion.command,
        motion.ends,
        np.arange(len(motion.position)),
        steps=chunks.UNIT_STEPS,
        rows_per_step=self.fps / self.mapping.control_hz,
      )
      whole = valid.all(axis=1)
      unit.add(commands[whole], motion.position[whole])
      if first is None:
        first = np.stack([motion.position[0], motion.command[0]])
    return Survey(motions, first, unit.scale())

  def lines(self, survey: Survey) -> Iterator[str]:
    """Yields the mapping as it was understood, a line per joint and camera."""
    mapping = self.mapping
    for i, row in enumerate(mapping.joints):
      slope, shift = row.line()
      line = f'{slope:.6g} * {row.state}'
      line += f' {"+" if shift >= 0 else "-"} {abs(shift):.6g}' if shift else ''
      low, high = survey.motions.low[0, i], survey.motions.high[0, i]
      ends = sorted((low * slope + shift, high * slope + shift))
      yield (
        f'{row.joint}: {line} ({row.recorded} to {row.robot_unit}), recorded '
        f'{low:.4g} to {high:.4g}, that is {ends[0]:.4g} to {ends[1]:.4g} '
        f'{row.robot_unit}; at first {survey.first[0, i]:.4g}, commanded '
        f'{survey.first[1, i]:.4g} by {row.action_entry}.'
      )
    for camera in mapping.cameras:
      height, width = self.recording.cameras[camera.key]
      cut = 'whole' if camera.crop is None else f'cut to {camera.crop}'
      yield f'{camera.camera}: {camera.key}, {height}x{width}, {cut}.'
    if mapping.velocities == DIFFERENCES:
      yield 'Velocities are differences of the measured positions.'
    if self.fps != mapping.control_hz:
      yield (
        f'Chunks are interpolated from {self.fps:g} rows to '
        f'{mapping.control_hz:g} steps a second.'
      )


def make(recording: Recording, mapping: DatasetMapping) -> MappedRecording:
  """Joins a recording and its mapping; reads no rows.

  Raises:
    ValueError: columns, entries, cameras, rates or episodes that do not fit.
  """
  _check_columns(recording, mapping)
  unit_checks.check_names(mapping.joints)
  _check_cameras(recording, mapping)
  _check_rate(recording, mapping)
  numbers = [x.number for x in recording.episodes]
  unknown = sorted(set(mapping.skip_episodes) - set(numbers))
  if unknown:
    raise ValueError(
      f'skip_episodes must be episodes of {recording.path}: {unknown} are not.'
    )
  kept = tuple(
    i for i, n in enumerate(numbers) if n not in mapping.skip_episodes
  )
  if not kept:
    raise ValueError('skip_episodes must leave an episode: none is left.')
  empty = [numbers[i] for i in kept if recording.episodes[i].length < 1]
  if empty:
    raise ValueError(
      f'Episodes must have rows: {empty} of {recording.path} have none. Leave '
      'them out with skip_episodes of the mapping.'
    )
  return MappedRecording(recording, mapping, kept)


def check(
  mapped: MappedRecording, survey: Survey, say: Callable[[str], None]
) -> None:
  """Prints a mapping as it was understood and refuses what cannot be so.

  Raises:
    ValueError: units or actions that the numbers contradict.
  """
  for line in mapped.lines(survey):
    say(line)
  rows = mapped.mapping.joints
  unit_checks.check_ranges(rows, survey.motions)
  unit_checks.check_agreement(rows, survey.motions)


def _check_columns(recording: Recording, mapping: DatasetMapping) -> None:
  known = list(recording.vectors)
  wanted = {
    'state_key': mapping.state_key,
    'action_key': mapping.action_key,
    'velocities': mapping.velocities,
    'remaining_motion': mapping.remaining_motion,
  }
  for name, key in wanted.items():
    if key in (None, DIFFERENCES) or key in known:
      continue
    raise ValueError(
      f'{name} of the mapping must be a column of {recording.path}: {key!r}.'
      f'{mapping_lib.suggest([key], known)} It has {known}.'
    )
  names = {key: recording.vectors[key] for key in (
    mapping.state_key, mapping.action_key,
  )}  # fmt: skip
  _check_entries(
    'state', [x.state for x in mapping.joints], names[mapping.state_key],
    mapping.unused,
  )  # fmt: skip
  _check_entries(
    'action', [x.action_entry for x in mapping.joints],
    names[mapping.action_key], mapping.unused,
  )  # fmt: skip
  stale = set(mapping.unused) - {
    x for entries in names.values() for x in entries
  }
  if stale:
    raise ValueError(
      f'unused must be entries of state or action: {sorted(stale)} are not.'
    )
  for name, key, size in (
    ('velocities', mapping.velocities, len(names[mapping.state_key])),
    ('remaining_motion', mapping.remaining_motion, _REMAINING),
  ):
    if key in recording.vectors and len(recording.vectors[key]) != size:
      raise ValueError(
        f'{name} must be a column of {size} numbers: {key!r} has '
        f'{len(recording.vectors[key])}.'
      )


def _check_entries(part, mapped, entries, unused) -> None:
  """Refuses entries that are named twice, missing, or not spoken of."""
  if len(set(entries)) != len(entries):
    raise ValueError(
      f'Entries of the {part} must have distinct names: {entries}.'
    )
  unknown = [x for x in mapped if x not in entries]
  if unknown:
    raise ValueError(
      f'{part} of the joints must be entries of the dataset, {list(entries)}: '
      f'{unknown} are not.{mapping_lib.suggest(unknown, entries)}'
    )
  silent = [x for x in entries if x not in mapped and x not in unused]
  if silent:
    raise ValueError(
      f'Every entry of the {part} must be a joint or unused: {silent} are '
      'neither. Add rows to joints, or list them in unused.'
    )


def _check_cameras(recording: Recording, mapping: DatasetMapping) -> None:
  for row in mapping.cameras:
    if row.key not in recording.cameras:
      known = list(recording.cameras)
      raise ValueError(
        f'Camera {row.camera!r} must be a camera of {recording.path}: '
        f'{row.key!r}.{mapping_lib.suggest([row.key], known)} It has {known}.'
      )
    height, width = recording.cameras[row.key]
    if row.crop is None:
      continue
    left, top, side = row.crop
    if left + side > width or top + side > height:
      raise ValueError(
        f'crop of {row.camera!r} must lie in its picture of {width}x{height}: '
        f'{row.crop}.'
      )


def _check_rate(recording: Recording, mapping: DatasetMapping) -> None:
  for name in ('fps', 'color_order'):
    is_needed = recording.fps is None
    if (getattr(mapping, name) is not None) != is_needed:
      state, says = ('given', 'do not say') if is_needed else ('absent', 'say')
      raise ValueError(
        f'{name} of the mapping must be {state}: files of {recording.kind} '
        f'{says} it.'
      )
  fps = recording.fps or mapping.fps
  if fps != mapping.control_hz and mapping.resample == 'never':
    raise ValueError(
      f'The dataset has {fps:g} rows a second, and control_hz of the mapping '
      f'is {mapping.control_hz:g}: they must be equal, or "resample" must be '
      '"linear", which interpolates the commands between rows.'
    )
  if mapping.instruction is None and not any(
    x.instructions for x in recording.episodes
  ):
    raise ValueError(
      f'instruction of the mapping must be given: files of {recording.kind} '
      f'have no texts, {recording.path}.'
    )
