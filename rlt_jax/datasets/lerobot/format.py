"""Names, paths and the description (meta/info.json) of a LeRobot dataset.

What the reader and the writer share. The format is described at
https://huggingface.co/docs/lerobot/lerobot-dataset-v3; facts that it leaves out
were taken from files that lerobot 0.6.1 wrote.
"""

from collections.abc import Mapping
import dataclasses
import json
import math
import pathlib
from typing import Any

V3, V21 = 'v3.0', 'v2.1'  # codebase_version

# Paths below the dataset's folder.
INFO_PATH = 'meta/info.json'
STATS_PATH = 'meta/stats.json'
TASKS_PATH = 'meta/tasks.parquet'
_FILE = 'chunk-{chunk_index:03d}/file-{file_index:03d}'
EPISODES_PATH = f'meta/episodes/{_FILE}.parquet'
DATA_PATH = f'data/{_FILE}.parquet'
VIDEO_PATH = 'videos/{video_key}/' + _FILE + '.mp4'
# Version 2.1: a file of each kind per episode.
V21_TASKS_PATH = 'meta/tasks.jsonl'
V21_EPISODES_PATH = 'meta/episodes.jsonl'
_EPISODE = 'episode_{episode_index:06d}'
V21_DATA_PATH = 'data/chunk-{episode_chunk:03d}/' + _EPISODE + '.parquet'
V21_VIDEO_PATH = (
  'videos/chunk-{episode_chunk:03d}/{video_key}/' + _EPISODE + '.mp4'
)

CHUNKS_SIZE = 1000  # files of a folder chunk-000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200  # sizes of a file

# Features by their key.
STATE, ACTION = 'observation.state', 'action'
CAMERA_PREFIX = 'observation.images.'
INTERVENTION = 'intervention'  # bool: a person drove; LeRobot's dagger rollouts
HIL_INTERVENTION = 'complementary_info.is_intervention'  # of HIL-SERL
SOURCE = 'complementary_info.source'  # int64: rlt_jax.types.Source
JOINT_VELOCITY = 'complementary_info.joint_velocity'
REWARD, DONE = 'next.reward', 'next.done'

IMAGE, VIDEO = 'image', 'video'  # dtypes of a camera
HEIGHT_WIDTH_CHANNELS = ('height', 'width', 'channels')


@dataclasses.dataclass(frozen=True)
class Feature:
  """One column of a dataset, or a video that has none.

  dtype: 'float32', 'int64', 'bool', 'string', ... or IMAGE or VIDEO.
  shape: of a frame's value; (1,) is a plain column.
  names: of the entries, or of the axes of an image; None where there are none.
  info: of a video, such as its codec; None elsewhere.
  """

  dtype: str
  shape: tuple[int, ...]
  names: tuple[str, ...] | None = None
  info: Mapping[str, Any] | None = None

  @property
  def is_camera(self) -> bool:
    """Whether its values are pictures."""
    return self.dtype in (IMAGE, VIDEO)

  @property
  def size(self) -> tuple[int, int]:
    """Height and width of a camera's pictures.

    The names of the axes say which is which: there are datasets with channels
    first.
    """
    axes = [str(name).rstrip('s') for name in self.names or ()]
    if sorted(axes) != ['channel', 'height', 'width'] or len(self.shape) != 3:
      axes = ['height', 'width', 'channel']
    return self.shape[axes.index('height')], self.shape[axes.index('width')]

  def entries(self) -> tuple[str, ...]:
    """Returns the names of a vector's entries; their numbers without names."""
    count = math.prod(self.shape)
    if self.names is None or len(self.names) != count:
      return tuple(map(str, range(count)))
    return self.names

  def to_table(self) -> dict[str, Any]:
    """Returns the feature as info.json has it."""
    names = None if self.names is None else list(self.names)
    table = {'dtype': self.dtype, 'shape': list(self.shape), 'names': names}
    return table if self.info is None else table | {'info': dict(self.info)}


# Columns that every dataset has. timestamp: s from the episode's start,
# frame_index / fps. index: of the frame over all episodes.
DEFAULT_FEATURES = {
  'timestamp': Feature('float32', (1,)),
  'frame_index': Feature('int64', (1,)),
  'episode_index': Feature('int64', (1,)),
  'index': Feature('int64', (1,)),
  'task_index': Feature('int64', (1,)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
  """What meta/info.json says of a dataset.

  features: by their key, DEFAULT_FEATURES included.
  data_path, video_path: templates below the folder; no video_path without
    videos.
  """

  version: str = V3
  fps: float
  features: Mapping[str, Feature]
  total_episodes: int
  total_frames: int
  total_tasks: int
  robot_type: str | None = None
  chunks_size: int = CHUNKS_SIZE
  data_path: str = DATA_PATH
  video_path: str | None = None

  @property
  def cameras(self) -> dict[str, Feature]:
    """The features with pictures, by their key."""
    return {k: x for k, x in self.features.items() if x.is_camera}

  def to_table(self) -> dict[str, Any]:
    """Returns the content of info.json of a dataset of version 3.0.

    LeRobot takes whole rates only.
    """
    return {
      'codebase_version': self.version,
      'robot_type': self.robot_type,
      'total_episodes': self.total_episodes,
      'total_frames': self.total_frames,
      'total_tasks': self.total_tasks,
      'chunks_size': self.chunks_size,
      'data_files_size_in_mb': DATA_FILE_MB,
      'video_files_size_in_mb': VIDEO_FILE_MB,
      'fps': int(self.fps) if self.fps == int(self.fps) else self.fps,
      'splits': {'train': f'0:{self.total_episodes}'},
      'data_path': self.data_path,
      'video_path': self.video_path,
      'features': {k: x.to_table() for k, x in self.features.items()},
    }


def read_info(folder: str | pathlib.Path) -> Info:
  """Reads meta/info.json of a dataset.

  Raises:
    ValueError: no such file, another version, or a field that is missing or
      wrong; the message names the file.
  """
  file = pathlib.Path(folder) / INFO_PATH
  if not file.is_file():
    raise ValueError(
      f'A LeRobot dataset must hold {INFO_PATH}: none in {folder}. Give the '
      'folder that holds meta, data and, if there are any, videos.'
    )
  try:
    table = json.loads(file.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{file} must be JSON: {error}.') from None
  try:
    return parse_info(table)
  except ValueError as error:
    raise ValueError(f'{file}: {error}') from None


def parse_info(table: Any) -> Info:
  """Returns the content of info.json as an `Info`.

  Raises:
    ValueError: another version, or a field that is missing or wrong.
  """
  if not isinstance(table, dict):
    raise ValueError(f'It must be a JSON object: {type(table).__name__}.')
  version = table.get('codebase_version')
  if version not in (V3, V21):
    raise ValueError(
      f'codebase_version must be {V3!r} or {V21!r}: {version!r}. '
      f'{_other_version(version)}'
    )
  fps = table.get('fps')
  if not _is_number(fps) or not 0.0 < fps < math.inf:
    raise ValueError(f'fps must be a positive number: {fps!r}.')
  features = table.get('features')
  if not isinstance(features, dict) or not features:
    raise ValueError(f'features must be an object of columns: {features!r}.')
  features = {key: _feature(key, value) for key, value in features.items()}
  missing = [x for x in DEFAULT_FEATURES if x not in features]
  if missing:
    raise ValueError(
      f'features must have {list(DEFAULT_FEATURES)}: {missing} are missing.'
    )
  is_v3 = version == V3
  has_video = any(x.dtype == VIDEO for x in features.values())
  return Info(
    version=version,
    fps=float(fps),
    features=features,
    **{x: _count(table, x) for x in (
      'total_episodes', 'total_frames', 'total_tasks',
    )},
    robot_type=table.get('robot_type'),
    chunks_size=_count(table, 'chunks_size', CHUNKS_SIZE),
    data_path=_template(
      table.get('data_path'), 'data_path', DATA_PATH if is_v3 else V21_DATA_PATH
    ),
    video_path=_template(
      table.get('video_path'),
      'video_path',
      VIDEO_PATH if is_v3 else V21_VIDEO_PATH,
    ) if has_video else None,
  )  # fmt: skip


def _other_version(version: Any) -> str:
  if version in ('v1.6', 'v2.0') or str(version).startswith('v1.'):
    return (
      'Convert it with the scripts that LeRobot has for it, to v2.1 and from '
      'there to v3.0 (lerobot.scripts.convert_dataset_v21_to_v30).'
    )
  return 'Only these two are read.'


def _feature(key: str, table: Any) -> Feature:
  if not isinstance(table, dict) or not isinstance(table.get('dtype'), str):
    raise ValueError(f'Feature {key!r} must have a dtype: {table!r}.')
  shape = table.get('shape')
  is_shape = isinstance(shape, list) and all(
    type(x) is int and x > 0 for x in shape
  )
  if not is_shape or not shape:
    raise ValueError(
      f'The shape of feature {key!r} must be positive integers: {shape!r}.'
    )
  dtype = table['dtype']
  if dtype in (IMAGE, VIDEO) and len(shape) != 3:
    raise ValueError(
      f'Camera {key!r} must have height, width and channels: shape {shape}.'
    )
  return Feature(
    dtype, tuple(shape), _names(table.get('names')), table.get('info')
  )


def _names(names: Any) -> tuple[str, ...] | None:
  """Returns names; older datasets hold them in an object, {"motors": [...]}."""
  if isinstance(names, dict) and len(names) == 1:
    (names,) = names.values()
  if not isinstance(names, list) or not all(isinstance(x, str) for x in names):
    return None
  return tuple(names)


def _count(table: Mapping[str, Any], name: str, default: int = -1) -> int:
  value = table.get(name, default)
  if type(value) is not int or value < 0:
    raise ValueError(f'{name} must be a whole number: {value!r}.')
  return value


def _template(value: Any, name: str, example: str) -> str:
  """Returns a template of paths, which must stay below the folder."""
  fields = {
    'chunk_index': 0, 'file_index': 0, 'episode_chunk': 0, 'episode_index': 0,
    'video_key': 'k',
  }  # fmt: skip
  try:
    path = pathlib.PurePosixPath(value.format(**fields))
  except (AttributeError, LookupError, ValueError):
    path = None
  if path is None or path.is_absolute() or '..' in path.parts:
    raise ValueError(
      f'{name} must be a path below the folder such as {example!r}: {value!r}.'
    )
  return value


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
