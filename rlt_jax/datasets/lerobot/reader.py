"""Reads LeRobot datasets of versions 3.0 and 2.1 from a local folder."""

from collections.abc import Iterator, Sequence
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.datasets import pictures, recording
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import layout, video
from rlt_jax.datasets.recording import RecordedEpisode, Recording

# Of the time of a frame. LeRobot's sums of times drift by 1e-4 s after some 30
# episodes in a file; a neighboring frame is ten times as far as this.
_TOLERANCE = 0.1
_NUMBERS = (
  'float16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8',
  'bool',
)  # fmt: skip


_LEAVE_OUT = 'Leave the episode out with skip_episodes of the mapping.'


class _Rows(NamedTuple):
  """The rows of an episode in its file, and the row groups that hold them."""

  groups: list[int]
  start: int  # within the groups
  stop: int


class LeRobotRecording(Recording):
  """A LeRobot dataset; files are opened when an episode of theirs is read.

  info: what meta/info.json says.
  """

  def __init__(self, folder: str | pathlib.Path):
    """Reads the descriptions in meta, no data.

    Raises:
      ValueError: missing or damaged files, or another version.
    """
    folder = pathlib.Path(folder)
    self.info = format_lib.read_info(folder)
    self.path = str(folder)
    self.kind = f'LeRobot {self.info.version}'
    self.fps = self.info.fps
    self.vectors = {
      key: feature.entries()
      for key, feature in self.info.features.items()
      if feature.dtype in _NUMBERS and len(feature.shape) == 1
    }
    self.cameras = {k: x.size for k, x in self.info.cameras.items()}
    self._places = layout.find_episodes(folder, self.info)
    self.episodes = tuple(
      RecordedEpisode(place.number, place.length, place.tasks)
      for place in self._places
    )
    self._index: dict[pathlib.Path, tuple[np.ndarray, np.ndarray]] = {}

  def read_vectors(
    self, episode: int, keys: Sequence[str]
  ) -> dict[str, np.ndarray]:
    """Returns columns [T, n]; see `Recording.read_vectors`."""
    place, table = self._places[episode], self._read(episode, list(keys))
    columns = {}
    for key in keys:
      size = len(self.vectors[key])
      columns[key] = _to_numpy(table[key], size, f'{key} in {place.data}')
      if columns[key].dtype.kind == 'f':
        recording.check_finite(key, columns[key], self._name(episode))
    return columns

  def read_interventions(self, episode: int) -> np.ndarray:
    """Returns bool [T]; see `Recording.read_interventions`."""
    for key in (format_lib.INTERVENTION, format_lib.HIL_INTERVENTION):
      if key in self.vectors:
        return self.read_vectors(episode, [key])[key][:, 0].astype(bool)
    return super().read_interventions(episode)

  def check_times(self, episode: int) -> None:
    """Raises a ValueError if frames are missing or out of time."""
    columns = self.read_vectors(episode, ['frame_index', 'timestamp'])
    index, times = (columns[x][:, 0] for x in ('frame_index', 'timestamp'))
    expected = np.arange(len(index))
    if (index != expected).any():
      row = int(np.argmax(index != expected))
      raise ValueError(
        f'frame_index must count from 0 without gaps: {int(index[row])} in row '
        f'{row} of {self._name(episode)}. {_LEAVE_OUT}'
      )
    off = np.abs(times - expected / self.fps) > _TOLERANCE / self.fps
    if off.any():
      row = int(np.argmax(off))
      raise ValueError(
        f'timestamp must be frame_index / fps, {row / self.fps:.4f} s, within '
        f'{_TOLERANCE / self.fps:.4f} s: {times[row]:.4f} s in row {row} of '
        f'{self._name(episode)}. {_LEAVE_OUT}'
      )

  def read_images(
    self, episode: int, key: str, rows: np.ndarray
  ) -> Iterator[np.ndarray]:
    """Yields pictures; see `Recording.read_images`."""
    place, size = self._places[episode], self.cameras[key]
    if self.info.features[key].dtype == format_lib.VIDEO:
      part = place.videos[key]
      times = part.start + np.asarray(rows) / self.fps
      found = video.decode(part.file, times, _TOLERANCE / self.fps)
    else:
      found = self._read_stored(episode, key, rows)
    for row, picture in zip(rows, found, strict=True):
      if picture.shape != (*size, 3):
        raise ValueError(
          f'Pictures of {key} must be of {size[0]}x{size[1]} with 3 channels, '
          f'by info.json: {picture.shape} in row {row} of '
          f'{self._name(episode)}.'
        )
      yield picture

  def video_ends(
    self, key: str, episodes: Sequence[int]
  ) -> list[tuple[int, int]]:
    """Returns ends of video files; see `Recording.video_ends`."""
    if self.info.features[key].dtype != format_lib.VIDEO:
      return []
    files: dict[pathlib.Path, list[tuple[float, int]]] = {}
    for episode in episodes:
      part = self._places[episode].videos[key]
      files.setdefault(part.file, []).append((part.start, episode))
    ends = []
    for parts in files.values():
      (_, first), (_, last) = min(parts), max(parts)
      ends += [(first, 0), (last, self._places[last].length - 1)]
    return ends

  def _read_stored(
    self, episode: int, key: str, rows: np.ndarray
  ) -> Iterator[np.ndarray]:
    column = self._read(episode, [key])[key].take(rows).combine_chunks()
    where = f'{key} in {self._name(episode)}'
    for row, cell in zip(rows, column, strict=True):
      content = cell.as_py()
      content = content['bytes'] if isinstance(content, dict) else content
      if not isinstance(content, bytes):
        raise ValueError(
          f'Pictures must lie in the parquet file, as PNG or JPEG: row {row} '
          f'of {where} has none.'
        )
      yield pictures.decode(content, f'row {row} of {where}')

  def _read(self, episode: int, keys: list[str]) -> Any:
    """Returns columns of an episode as a pyarrow table."""
    file = self._places[episode].data
    opened = layout.open_parquet(file)
    missing = [x for x in keys if x not in opened.schema_arrow.names]
    if missing:
      raise ValueError(f'{file} must have the columns {missing}, by info.json.')
    rows = self._find(episode, opened)
    try:
      table = opened.read_row_groups(rows.groups, columns=keys)
    except (OSError, ValueError) as error:
      raise layout.damaged(file, error) from None
    return table.slice(rows.start, rows.stop - rows.start)

  def _find(self, episode: int, opened: Any) -> _Rows:
    """Returns where an episode lies in its file."""
    place = self._places[episode]
    if place.data not in self._index:
      sizes = [
        opened.metadata.row_group(i).num_rows
        for i in range(opened.num_row_groups)
      ]
      try:
        numbers = opened.read(columns=['episode_index'])['episode_index']
      except (OSError, ValueError, KeyError) as error:
        raise layout.damaged(place.data, error) from None
      ends = np.cumsum(sizes, dtype=np.int64)
      self._index[place.data] = numbers.to_numpy(), ends
    numbers, ends = self._index[place.data]
    rows = np.flatnonzero(numbers == place.number)
    if len(rows) != place.length or (np.diff(rows) != 1).any():
      raise ValueError(
        f'{self._name(episode)} must have {place.length} rows in a block, as '
        f'meta says: {len(rows)}.'
      )
    start, stop = int(rows[0]), int(rows[-1]) + 1
    first, last = np.searchsorted(ends, (start, stop - 1), side='right')
    before = int(ends[first - 1]) if first else 0
    groups = list(range(int(first), int(last) + 1))
    return _Rows(groups, start - before, stop - before)

  def _name(self, episode: int) -> str:
    place = self._places[episode]
    return f'episode {place.number} of {place.data}'


def _to_numpy(column: Any, size: int, where: str) -> np.ndarray:
  """Returns a column of numbers or of lists of them as [T, size]."""
  column = column.combine_chunks()
  if column.null_count:
    raise ValueError(f'Every row must have a value: {where} lacks some.')
  if column.type.num_fields:
    if hasattr(column.type, 'list_size'):
      sizes = {column.type.list_size}
    else:
      sizes = set(np.unique(column.value_lengths()).tolist())
    if sizes - {size}:
      raise ValueError(
        f'Rows must have {size} numbers, by info.json: {sorted(sizes)} in '
        f'{where}.'
      )
    column = column.flatten()
    if column.null_count:
      raise ValueError(f'Every entry must have a value: {where} lacks some.')
  values = column.to_numpy(zero_copy_only=False)
  return values.reshape(-1, size)
