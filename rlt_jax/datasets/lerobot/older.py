"""Rewrites a dataset of version 3.0 as version 2.1, which openpi trains on.

openpi has pinned a LeRobot from before version 3.0. The frames are the same;
only names, lists and descriptions of the files differ.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import shutil
from typing import Any

from rlt_jax import files
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import layout, tables
from rlt_jax.datasets.lerobot.format import Info

_STATS = 'stats/'
_STATS_PATH = 'meta/episodes_stats.jsonl'


def write_v21(
  source: str | os.PathLike[str],
  folder: str | os.PathLike[str],
  *,
  report: Callable[[str], None] = lambda text: None,
) -> int:
  """Writes the dataset again; returns the number of episodes.

  Args:
    source: folder of a dataset of version 3.0 with a file per episode, as
      `writer` writes them.
    folder: new one. It has another name, with `.partial`, until it is whole
      and on the disk; a fault or an interruption leaves nothing.
    report: called with a line of text for every 100 episodes.

  Raises:
    ValueError: a dataset with several episodes in a file, or of version 2.1; a
      folder that exists, or that another process may be writing.
  """
  source, folder = pathlib.Path(source), pathlib.Path(folder)
  info = format_lib.read_info(source)
  if info.version != format_lib.V3:
    raise ValueError(f'{source} must be of version 3.0: {info.version}.')
  if folder.exists():
    raise ValueError(f'The folder must be a new one: {folder} exists.')
  places = layout.find_episodes(source, info)
  if len({place.data for place in places}) != len(places):
    raise ValueError(
      f'{source} must have a file per episode, as make_demos and '
      'export_dataset write them: some have several.'
    )
  partial = folder.with_name(folder.name + '.partial')
  if partial.exists():
    raise ValueError(
      f'Another process writes {partial}, or was killed then: if so, delete '
      'that folder.'
    )
  try:
    _write(source, info, places, partial, report)
    files.sync_tree(partial)
    os.rename(partial, folder)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise
  files.sync_folder(folder.parent)
  return len(places)


def _write(
  source: pathlib.Path,
  info: Info,
  places: Sequence[layout.Place],
  folder: pathlib.Path,
  report: Callable[[str], None],
) -> None:
  (folder / 'meta').mkdir(parents=True)
  for place in places:
    _copy(place, folder, info)
    if (place.number + 1) % 100 == 0:
      report(f'{place.number + 1} of {len(places)} episodes')
  _write_lines(folder / format_lib.V21_TASKS_PATH, [
    {'task_index': number, 'task': task}
    for number, task in layout.find_tasks(source, info).items()
  ])  # fmt: skip
  _write_lines(folder / format_lib.V21_EPISODES_PATH, [
    {'episode_index': x.number, 'tasks': list(x.tasks), 'length': x.length}
    for x in places
  ])  # fmt: skip
  _write_lines(folder / _STATS_PATH, [
    {'episode_index': number, 'stats': stats}
    for number, stats in _read_statistics(source, info).items()
  ])  # fmt: skip
  text = json.dumps(_describe(info, len(places)), indent=2) + '\n'
  files.write_atomically(folder / format_lib.INFO_PATH, text)


def _copy(place: layout.Place, folder: pathlib.Path, info: Info) -> None:
  """Writes the files of an episode."""
  names = {
    'episode_chunk': place.number // info.chunks_size,
    'episode_index': place.number,
  }
  table = layout.open_parquet(place.data).read()
  about = _read_types(place.data, table.schema.metadata)
  target = folder / format_lib.V21_DATA_PATH.format(**names)
  target.parent.mkdir(parents=True, exist_ok=True)
  tables.parquet().write_table(
    table.replace_schema_metadata({'huggingface': json.dumps(about)}), target
  )
  for key, part in place.videos.items():
    target = folder / format_lib.V21_VIDEO_PATH.format(video_key=key, **names)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(part.file, target)


def _read_types(
  file: pathlib.Path, metadata: Mapping[bytes, bytes] | None
) -> dict[str, Any]:
  """Returns the types of a file's columns, with the names of that time."""
  try:
    about = json.loads((metadata or {})[b'huggingface'])
    for feature in about['info']['features'].values():
      # That `datasets` has another name for lists of a fixed length.
      if feature['_type'] == 'List':
        feature['_type'] = 'Sequence'
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{file} must have the types of its columns as JSON, 'huggingface': "
      f'{error!r}.'
    ) from None
  return about


def _read_statistics(source: pathlib.Path, info: Info) -> dict[int, Any]:
  """Returns episode -> feature -> statistic -> numbers."""
  found = {}
  for file in sorted((source / 'meta/episodes').rglob('*.parquet')):
    for row in layout.open_parquet(file).read().to_pylist():
      stats: dict[str, Any] = {}
      for name, value in row.items():
        if name.startswith(_STATS):
          key, statistic = name.removeprefix(_STATS).rsplit('/', 1)
          if info.features[key].is_camera and statistic != 'count':
            value = [[[x]] for x in value]  # channels first
          stats.setdefault(key, {})[statistic] = value
      found[row['episode_index']] = stats
  return found


def _describe(info: Info, num_episodes: int) -> dict[str, Any]:
  """Returns the content of info.json."""
  videos = sum(x.dtype == format_lib.VIDEO for x in info.cameras.values())
  table = info.to_table() | {
    'codebase_version': format_lib.V21,
    'total_chunks': -(-num_episodes // info.chunks_size),
    'total_videos': videos * num_episodes,
    'data_path': format_lib.V21_DATA_PATH,
    'video_path': format_lib.V21_VIDEO_PATH if videos else None,
  }
  del table['data_files_size_in_mb'], table['video_files_size_in_mb']
  return table


def _write_lines(file: pathlib.Path, rows: list[Mapping[str, Any]]) -> None:
  files.write_atomically(file, ''.join(json.dumps(x) + '\n' for x in rows))
