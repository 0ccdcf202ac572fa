"""The files of one episode of a LeRobot dataset while it is written.

They have other names until all of them are whole.
"""

from collections.abc import Mapping
import contextlib
import io
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from rlt_jax.datasets import pictures
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import statistics, tables
from rlt_jax.datasets.lerobot.format import Feature, Info
from rlt_jax.datasets.lerobot.video_writer import VideoWriter

PARTIAL = '.partial'
_GROUP_BYTES = 1 << 26  # of pictures in memory before they are written


class Written(NamedTuple):
  """An episode whose files are on the disk, under partial names.

  length: frames. row: its columns in meta/episodes. files: whole ones, by the
  names that they will have.
  """

  length: int
  row: dict[str, Any]
  files: list[pathlib.Path]


def paths(folder: pathlib.Path, info: Info, number: int) -> dict[str, Any]:
  """Returns the files of an episode, 'data' and the key of each video.

  Every episode has files of its own, numbered as it is, so that it is whole
  once they have their names.
  """
  chunk, file = divmod(number, info.chunks_size)
  place = {'chunk_index': chunk, 'file_index': file}
  found = {'data': folder / info.data_path.format(**place)}
  for key, feature in info.cameras.items():
    if feature.dtype == format_lib.VIDEO:
      found[key] = folder / info.video_path.format(video_key=key, **place)
  return found


class EpisodeWriter:
  """Takes frames one after another; see `writer.Writer.episode`.

  length: frames so far.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    info: Info,
    *,
    number: int,
    first_index: int,
    task_index: int,
  ):
    """Opens the files.

    Args:
      folder: of the dataset.
      info: of the dataset.
      number: of the episode.
      first_index: `index` of its first frame.
      task_index: of its task.
    """
    self._info, self.length = info, 0
    self._constants = {'episode_index': number, 'task_index': task_index}
    self._first_index = first_index
    self._paths = paths(folder, info, number)
    self._schema = tables.data_schema(info.features)
    self._rows: dict[str, list] = {name: [] for name in self._schema.names}
    self._numbers: dict[str, list] = {
      key: [] for key, x in info.features.items() if not x.is_camera
    }
    self._histograms = {key: np.zeros((3, 256), int) for key in info.cameras}
    self._pending_bytes = 0
    for path in self._paths.values():
      path.parent.mkdir(parents=True, exist_ok=True)
    self._file = _partial(self._paths['data']).open('wb')
    self._parquet = tables.parquet().ParquetWriter(self._file, self._schema)
    self._videos = {
      key: VideoWriter(_partial(path), info.features[key])
      for key, path in self._paths.items()
      if key != 'data'
    }

  def add(self, frame: Mapping[str, Any]) -> None:
    """Adds a frame.

    Args:
      frame: the value of each feature but the default ones: numbers of its
        shape; of a camera uint8 [height, width, 3] or, losslessly kept as it
        is, the content of a PNG or JPEG file.

    Raises:
      ValueError: a value is missing, or of another kind; the text names it.
    """
    number = self.length
    frame = dict(frame) | self._constants | {
      'timestamp': np.float32(number / self._info.fps),
      'frame_index': number,
      'index': self._first_index + number,
    }  # fmt: skip
    features = self._info.features
    if wrong := sorted(set(frame) ^ set(features)):
      raise ValueError(
        f'A frame must have the features of the dataset, {list(features)}: '
        f'{wrong} are missing or not of it.'
      )
    for key, value in frame.items():
      if features[key].is_camera:
        self._add_picture(key, value)
      else:
        value = _numbers(key, value, features[key])
        self._numbers[key].append(value)
        self._rows[key].append(value)
    self.length += 1
    if self._pending_bytes >= _GROUP_BYTES:
      self._flush()

  def finish(self) -> Written:
    """Ends the files; they are on the disk when this returns.

    Raises:
      ValueError: no frame.
    """
    if not self.length:
      raise ValueError('An episode must have at least one frame: 0.')
    self._flush()
    self._parquet.close()
    self._file.flush()
    os.fsync(self._file.fileno())
    self._file.close()
    for video in self._videos.values():
      video.close()
    return Written(self.length, self._row(), list(self._paths.values()))

  def discard(self) -> None:
    """Closes and removes the files."""
    with contextlib.suppress(Exception):
      self._parquet.close()
    self._file.close()
    for video in self._videos.values():
      with contextlib.suppress(Exception):
        video.discard()
    for path in self._paths.values():
      _partial(path).unlink(missing_ok=True)

  def _add_picture(self, key: str, value: Any) -> None:
    feature = self._info.features[key]
    content = value if isinstance(value, bytes) else None
    image = value if content is None else pictures.decode(content, key)
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape != feature.shape:
      raise ValueError(
        f'{key} must be uint8 {list(feature.shape)}: {image.dtype} '
        f'{list(image.shape)}.'
      )
    self._histograms[key] += statistics.histogram(image)
    if key in self._videos:
      self._videos[key].add(image)
      return
    content = content or _to_png(image)
    self._rows[key].append(content)
    self._pending_bytes += len(content)

  def _flush(self) -> None:
    features = self._info.features
    columns = [
      tables.column(self._rows[field.name], features[field.name], field.type)
      for field in self._schema
    ]
    table = tables.pyarrow().Table.from_arrays(columns, schema=self._schema)
    if len(table):
      self._parquet.write_table(table)
    self._rows = {name: [] for name in self._rows}
    self._pending_bytes = 0

  def _row(self) -> dict[str, Any]:
    """Returns where the episode is, its statistics and its histograms."""
    number = self._constants['episode_index']
    place = divmod(number, self._info.chunks_size)
    row = {'length': self.length}
    row |= tables.place_columns('data', *place)
    row |= {
      'dataset_from_index': self._first_index,
      'dataset_to_index': self._first_index + self.length,
    }
    for key in self._videos:
      row |= tables.place_columns(f'videos/{key}', *place)
      row[f'videos/{key}/from_timestamp'] = 0.0
      row[f'videos/{key}/to_timestamp'] = self.length / self._info.fps
    row |= tables.place_columns('meta/episodes', *place)
    found = {
      key: statistics.of_numbers(np.stack(values))
      for key, values in self._numbers.items()
    } | {
      key: statistics.of_pixels(counts, self.length)
      for key, counts in self._histograms.items()
    }
    for key, values in found.items():
      row |= {f'stats/{key}/{name}': value for name, value in values.items()}
    row |= {tables.HISTOGRAM + k: x for k, x in self._histograms.items()}
    return row


def _partial(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + PARTIAL)


def put_in_place(files: list[pathlib.Path]) -> None:
  """Gives whole files their names."""
  for path in files:
    os.replace(_partial(path), path)


def _numbers(key: str, value: Any, feature: Feature) -> np.ndarray:
  """Returns a frame's value as an array of the feature's shape."""
  value = np.asarray(value)
  kind = np.dtype(feature.dtype)
  value = value.reshape(1) if value.shape == () else value
  if value.shape != feature.shape or not np.can_cast(
    value.dtype, kind, 'same_kind'
  ):
    raise ValueError(
      f'{key} must be {feature.dtype} {list(feature.shape)}: {value.dtype} '
      f'{list(value.shape)}.'
    )
  if not np.isfinite(value).all():
    raise ValueError(f'{key} must be finite: {value.tolist()}.')
  return value.astype(kind)


def _to_png(image: np.ndarray) -> bytes:
  file = io.BytesIO()
  PIL.Image.fromarray(image).save(file, 'PNG')
  return file.getvalue()
