"""Writes LeRobot datasets of version 3.0.

Every episode has files of its own. They are written under other names and get
theirs when all are whole, so a kill loses the open episode and nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from rlt_jax import files
from rlt_jax.datasets.lerobot import (
  episode_writer,
  layout,
  statistics,
  tables,
  video_writer,
)
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.episode_writer import EpisodeWriter, PARTIAL
from rlt_jax.datasets.lerobot.format import Feature, Info

_FOLDERS = ('meta', 'data', 'videos')
VIDEOS = ('', *video_writer.CODECS)


class Writer:
  """Writes a dataset; a context manager, which ends with the statistics.

  info: of what is on the disk.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    features: Mapping[str, Feature],
    *,
    fps: float,
    robot_type: str | None = None,
    video: str = '',
    resume: bool = False,
  ):
    """Makes the folder, or opens one with `resume`.

    Args:
      folder: of the dataset; it may hold other files.
      features: by their key, without the default ones; cameras as pictures.
      fps: frames a second, a whole number.
      robot_type: name of the robot.
      video: how cameras are kept: '' as pictures, lossless, or as a video with
        this codec of `video_writer.CODECS`.
      resume: go on with a dataset of these features; what a killed process
        left of an open episode is removed.

    Raises:
      ValueError: a feature, rate or folder that does not fit.
      ImportError: pyarrow or, for videos, av is missing.
    """
    self.folder = pathlib.Path(folder)
    self.info = _make_info(features, fps, robot_type, video)
    self._tasks: list[str] = []
    tables.parquet()
    if resume:
      self._continue()
    else:
      self._begin()

  @property
  def num_episodes(self) -> int:
    """Episodes on the disk."""
    return self.info.total_episodes

  @contextlib.contextmanager
  def episode(self, task: str, **fields: str | int) -> Iterator[EpisodeWriter]:
    """Writes an episode: `add` its frames to what is yielded.

    It is on the disk after the block. If the block raises, nothing of it is.

    Args:
      task: the instruction.
      **fields: further columns of meta/episodes, the same in every episode.
    """
    number = self.num_episodes
    tasks = self._tasks if task in self._tasks else [*self._tasks, task]
    opened = EpisodeWriter(
      self.folder,
      self.info,
      number=number,
      first_index=self.info.total_frames,
      task_index=tasks.index(task),
    )
    try:
      yield opened
      written = opened.finish()
    except BaseException:
      opened.discard()
      raise
    row = {'episode_index': number, 'tasks': [task]} | written.row | fields
    self._commit(written, row, tasks)

  def read_fields(self, number: int, names: Iterable[str]) -> dict[str, Any]:
    """Returns these columns of meta/episodes of an episode; some may lack."""
    row = self._read_row(number, '')
    return {name: row[name] for name in names if name in row}

  def truncate(self, num_episodes: int) -> None:
    """Removes the episodes from this number on."""
    if num_episodes < self.num_episodes:
      frames = self._first_index(num_episodes)
      self.info = dataclasses.replace(
        self.info, total_episodes=num_episodes, total_frames=frames
      )
      files.write_atomically(self.folder / format_lib.INFO_PATH, self._json())
    self._remove_from(self.num_episodes)

  def close(self) -> None:
    """Writes the statistics over all frames."""
    if not self.num_episodes:
      return
    features = self.info.features
    numbers = [key for key, x in features.items() if not x.is_camera]
    values: dict[str, list] = {key: [] for key in numbers}
    counts = {key: np.zeros((3, 256), int) for key in self.info.cameras}
    parquet = tables.parquet()
    for number in range(self.num_episodes):
      data = episode_writer.paths(self.folder, self.info, number)['data']
      table = parquet.read_table(data, columns=numbers)
      for key in numbers:
        values[key].append(_to_numpy(table[key], features[key]))
      for key, column in self._read_row(number, tables.HISTOGRAM).items():
        key = key.removeprefix(tables.HISTOGRAM)
        counts[key] += np.reshape(column, counts[key].shape)
    found = {
      key: statistics.of_numbers(np.concatenate(x)) for key, x in values.items()
    } | {
      key: statistics.of_pixels(x, self.info.total_frames)
      for key, x in counts.items()
    }
    content = json.dumps(statistics.to_json(found, list(features)), indent=2)
    files.write_atomically(self.folder / format_lib.STATS_PATH, content + '\n')

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(self, *_):
    self.close()

  def _begin(self) -> None:
    found = [x for x in _FOLDERS if (self.folder / x).exists()]
    if found:
      raise ValueError(
        f'A new dataset needs a new folder; --resume continues one: '
        f'{self.folder} holds {found}.'
      )
    (self.folder / 'meta').mkdir(parents=True)
    files.write_atomically(self.folder / format_lib.INFO_PATH, self._json())

  def _continue(self) -> None:
    found = format_lib.read_info(self.folder)
    for name in ('version', 'fps', 'robot_type', 'features', 'chunks_size'):
      before, now = getattr(found, name), getattr(self.info, name)
      if before != now:
        raise ValueError(
          f'A dataset that is continued must keep its {name}: {before} in '
          f'{self.folder}, and now {now}.'
        )
    self.info = found
    if found.total_tasks:
      self._tasks = list(layout.find_tasks(self.folder, found).values())
    self._remove_from(self.num_episodes)

  def _commit(
    self,
    written: episode_writer.Written,
    row: Mapping[str, Any],
    tasks: list[str],
  ) -> None:
    """Gives the files of an episode their names, info.json last."""
    info = self.info
    if tasks != self._tasks:  # one that nothing refers to does no harm
      _write_table(
        self.folder / format_lib.TASKS_PATH, tables.tasks_table(tasks)
      )
      self._tasks = tasks
    listed = self._episode_file(self.num_episodes)
    listed.parent.mkdir(parents=True, exist_ok=True)
    # Hundreds of columns with a number each: the less about each the better.
    _write_table(
      _partial(listed),
      tables.episode_table(row),
      write_statistics=False,
      use_dictionary=False,
      store_schema=False,
    )
    self.info = dataclasses.replace(
      info,
      total_episodes=info.total_episodes + 1,
      total_frames=info.total_frames + written.length,
      total_tasks=len(tasks),
    )
    summary = self.folder / format_lib.INFO_PATH
    files.write_atomically(_partial(summary), self._json())
    names = [*written.files, listed, summary]
    episode_writer.put_in_place(names)
    for folder in {path.parent for path in names}:
      files.sync_folder(folder)

  def _json(self) -> str:
    return json.dumps(self.info.to_table(), indent=2) + '\n'

  def _episode_file(self, number: int) -> pathlib.Path:
    chunk, file = divmod(number, self.info.chunks_size)
    place = {'chunk_index': chunk, 'file_index': file}
    return self.folder / format_lib.EPISODES_PATH.format(**place)

  def _read_row(self, number: int, prefix: str) -> dict[str, Any]:
    """Returns the columns of an episode whose names begin so."""
    opened = layout.open_parquet(self._episode_file(number))
    names = [x for x in opened.schema_arrow.names if x.startswith(prefix)]
    (row,) = opened.read(columns=names).to_pylist()
    return row

  def _first_index(self, number: int) -> int:
    row = self._read_row(number, 'dataset_from_index')
    return row['dataset_from_index']

  def _remove_from(self, number: int) -> None:
    """Removes what is not whole, and the episodes from a number on."""
    for path in self.folder.rglob('*' + PARTIAL):
      path.unlink()
    keep = {self._episode_file(x) for x in range(number)}
    for x in range(number):
      keep.update(episode_writer.paths(self.folder, self.info, x).values())
    for folder in ('meta/episodes', 'data', 'videos'):
      for path in (self.folder / folder).rglob('file-*'):
        if path not in keep:
          path.unlink()


def _make_info(
  features: Mapping[str, Feature],
  fps: float,
  robot_type: str | None,
  video: str,
) -> Info:
  """Returns the description of an empty dataset.

  Raises:
    ValueError: a feature or rate that does not fit, or an unknown codec.
  """
  if fps != int(fps) or fps < 1:
    raise ValueError(
      f'fps must be a whole number of at least 1, as LeRobot has it: {fps:g}.'
    )
  if video not in VIDEOS:
    raise ValueError(f'video must be one of {list(VIDEOS)}: {video!r}.')
  taken = {}
  for key, feature in features.items():
    if key in format_lib.DEFAULT_FEATURES:
      raise ValueError(f'{key} is written by itself: leave it out.')
    if feature.is_camera and video:
      feature = video_writer.feature(feature.size, video, int(fps))
    elif not feature.is_camera and (
      feature.dtype not in tables.NUMBERS or len(feature.shape) != 1
    ):
      raise ValueError(
        f'{key} must be a vector of {list(tables.NUMBERS)}: {feature.dtype} '
        f'{list(feature.shape)}.'
      )
    taken[key] = feature
  cameras = any(x.dtype == format_lib.VIDEO for x in taken.values())
  return Info(
    fps=float(fps),
    features=taken | format_lib.DEFAULT_FEATURES,
    total_episodes=0,
    total_frames=0,
    total_tasks=0,
    robot_type=robot_type,
    video_path=format_lib.VIDEO_PATH if cameras else None,
  )


def _partial(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + PARTIAL)


def _write_table(path: pathlib.Path, table: Any, **options: bool) -> None:
  with files.open_atomically(path) as file:
    tables.parquet().write_table(table, file, **options)


def _to_numpy(column: Any, feature: Feature) -> np.ndarray:
  """Returns a column as [F, n]."""
  column = column.combine_chunks()
  if feature.shape != (1,):
    column = column.flatten()
  values = column.to_numpy(zero_copy_only=False)
  return values.reshape(-1, *feature.shape)
