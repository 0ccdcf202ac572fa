"""Where the episodes of a LeRobot dataset lie, versions 3.0 and 2.1."""

from collections.abc import Iterator, Mapping
import json
import pathlib
from typing import Any, NamedTuple

from rlt_jax.datasets import recording
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.format import Info

_TASK_COLUMNS = ('task', '__index_level_0__')  # the latter by older releases


class VideoPart(NamedTuple):
  """An episode's part of a video file, from `start` seconds on."""

  file: pathlib.Path
  start: float


class Place(NamedTuple):
  """Where an episode lies.

  number: its episode_index. tasks: its texts. data: the parquet file, which
  may hold other episodes too. videos: by the camera's key.
  """

  number: int
  length: int
  tasks: tuple[str, ...]
  data: pathlib.Path
  videos: Mapping[str, VideoPart]


def find_episodes(folder: pathlib.Path, info: Info) -> tuple[Place, ...]:
  """Returns the places of all episodes, in order of their numbers.

  Raises:
    ValueError: missing or damaged files, or numbers that disagree with
      info.json.
  """
  is_v3 = info.version == format_lib.V3
  rows = _rows_v3(folder, info) if is_v3 else _rows_v21(folder, info)
  places = sorted(rows, key=lambda place: place.number)
  numbers = [place.number for place in places]
  if len(set(numbers)) != len(numbers):
    raise ValueError(f'Episodes must have distinct numbers in {folder}/meta.')
  frames = sum(place.length for place in places)
  for name, expected, value in (
    ('total_episodes', info.total_episodes, len(places)),
    ('total_frames', info.total_frames, frames),
  ):
    if value != expected:
      raise ValueError(
        f'{folder}/{format_lib.INFO_PATH} says {name} {expected}, and the list '
        f'of episodes in meta holds {value}. The recording was cut off or '
        'edited by hand; repair it with LeRobot, or fetch it again.'
      )
  if not places:
    raise ValueError(f'A dataset must hold episodes: none in {folder}.')
  return tuple(places)


def open_parquet(file: pathlib.Path) -> Any:
  """Opens a parquet file as a `pyarrow.parquet.ParquetFile`.

  Raises:
    ValueError: it is missing or damaged.
  """
  parquet = recording.import_extra('pyarrow.parquet', 'LeRobot datasets')
  if not file.is_file():
    raise ValueError(f'The dataset must hold {file}: no such file.')
  try:
    return parquet.ParquetFile(file)
  except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
    raise damaged(file, error) from None


def damaged(file: pathlib.Path, error: Exception) -> ValueError:
  """Returns the error of a parquet file that cannot be read."""
  return ValueError(
    f'{file} must be a whole parquet file: {error}. A recording that dies '
    'before its end leaves such files; fetch or record it again.'
  )


def _rows_v3(folder: pathlib.Path, info: Info) -> Iterator[Place]:
  videos = [k for k, x in info.cameras.items() if x.dtype == format_lib.VIDEO]
  columns = [
    'episode_index',
    'tasks',
    'length',
    'data/chunk_index',
    'data/file_index',
    *(
      f'videos/{key}/{name}'
      for key in videos
      for name in ('chunk_index', 'file_index', 'from_timestamp')
    ),
  ]
  files = sorted((folder / 'meta' / 'episodes').rglob('*.parquet'))
  if not files:
    raise ValueError(f'The dataset must hold {folder}/meta/episodes/*: none.')
  for file in files:
    opened = open_parquet(file)
    missing = [x for x in columns if x not in opened.schema_arrow.names]
    if missing:
      raise ValueError(f'{file} must have the columns {missing}.')
    for row in opened.read(columns=columns).to_pylist():
      yield Place(
        number=row['episode_index'],
        length=row['length'],
        tasks=tuple(row['tasks']),
        data=folder
        / info.data_path.format(
          chunk_index=row['data/chunk_index'], file_index=row['data/file_index']
        ),
        videos={
          key: VideoPart(
            folder
            / info.video_path.format(
              video_key=key,
              chunk_index=row[f'videos/{key}/chunk_index'],
              file_index=row[f'videos/{key}/file_index'],
            ),
            row[f'videos/{key}/from_timestamp'],
          )
          for key in videos
        },
      )


def _rows_v21(folder: pathlib.Path, info: Info) -> Iterator[Place]:
  videos = [k for k, x in info.cameras.items() if x.dtype == format_lib.VIDEO]
  file = folder / format_lib.V21_EPISODES_PATH
  for row in _read_lines(file, ('episode_index', 'length', 'tasks')):
    number = row['episode_index']
    fields = {
      'episode_index': number,
      'episode_chunk': number // info.chunks_size,
    }
    yield Place(
      number=number,
      length=row['length'],
      tasks=tuple(row['tasks']),
      data=folder / info.data_path.format(**fields),
      videos={
        key: VideoPart(
          folder / info.video_path.format(video_key=key, **fields), 0.0
        )
        for key in videos
      },
    )


def find_tasks(folder: pathlib.Path, info: Info) -> dict[int, str]:
  """Returns the task texts by their task_index.

  Raises:
    ValueError: a missing or damaged file.
  """
  if info.version == format_lib.V21:
    rows = _read_lines(
      folder / format_lib.V21_TASKS_PATH, ('task_index', 'task')
    )
    return {row['task_index']: row['task'] for row in rows}
  file = folder / format_lib.TASKS_PATH
  table = open_parquet(file).read()
  names = [x for x in _TASK_COLUMNS if x in table.column_names]
  if not names or 'task_index' not in table.column_names:
    raise ValueError(
      f"{file} must have the columns 'task_index' and 'task': "
      f'{table.column_names}.'
    )
  numbers, texts = (table[x].to_pylist() for x in ('task_index', names[0]))
  return dict(zip(numbers, texts, strict=True))


def _read_lines(
  file: pathlib.Path, fields: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
  """Yields the JSON objects of a file with one a line."""
  if not file.is_file():
    raise ValueError(f'The dataset must hold {file}: no such file.')
  text = file.read_text('utf-8')
  for number, line in enumerate(text.splitlines(), start=1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except ValueError as error:
      raise ValueError(
        f'{file}, line {number}, must be JSON: {error}.'
      ) from None
    missing = [x for x in fields if x not in row]
    if missing:
      raise ValueError(f'{file}, line {number}, must have {missing}.')
    yield row
