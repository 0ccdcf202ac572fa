"""What .npz shards of demonstrations hold: an index of them, and its rules."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import demo_files
from rlt_jax.demo_files import TaskFacts

FACTS = ('action_mode', 'action_scale', 'joint_names', 'control_hz')
_NAMED = 5  # files that a message names; the rest are counted
_OPTIONAL = 'remaining_motion'
# Column -> its type and number of axes. The instruction is a text per row.
_FORMS = {
  'images': (np.uint8, 4),
  'proprio': (np.float32, 2),
  'joints': (np.float32, 2),
  'chunk': (np.float32, 3),
  'chunk_valid': (np.bool_, 2),
  _OPTIONAL: (np.float32, 2),
  'episode': (np.int32, 1),
}


class Index(NamedTuple):
  """The small columns of all shards.

  files: in order. facts: the action space, by `FACTS`. columns: names of the
  others. instructions, episodes: an array for each file; episodes are numbered
  over all folders, from 0. tasks: of the demonstrations, by instruction; empty
  where a file does not name its task, as those of older versions.
  """

  files: Sequence[pathlib.Path]
  facts: Mapping[str, Any]
  columns: Sequence[str]
  instructions: Sequence[np.ndarray]
  episodes: Sequence[np.ndarray]
  tasks: Sequence[TaskFacts]


def read_index(
  path: str | pathlib.Path,
  cameras: Sequence[str],
  say: Callable[[str], None],
  *,
  joints: bool = False,
) -> Index:
  """Reads what tells the frames of all shards apart.

  Args:
    path: an .npz file, or a folder of them.
    cameras: whose images each file must hold.
    say: called with a line of text on what is left out.
    joints: whether each file must hold the column 'joints'.

  Raises:
    ValueError: no files, files that disagree or are damaged, or no frames.
  """
  found = demo_files.find(path)
  _say_left_out(found, say)
  names = [f'images/{camera}' for camera in cameras]
  apart = ('images', 'episode', 'joints', _OPTIONAL)
  names += [x for x in _FORMS if x not in apart] + ['joints'] * joints
  instructions, episodes, facts, optional, tasks = [], [], {}, [], []
  for file in found.shards:
    with demo_files.open_shard(file) as shard:
      needed = [*names, 'episode', 'instruction', *FACTS]
      _check_names(file, shard.names, needed)
      instructions.append(shard.read('instruction'))
      episodes.append(shard.read('episode'))
      check_values(file, 'episode', episodes[-1])
      check_length(file, 'episode', episodes[-1], len(instructions[-1]))
      facts[file] = _read_facts(file, shard)
      tasks.append(_read_task(file, shard))
      optional.append(_OPTIONAL in shard.names)
  _check_same(facts)
  if any(optional):
    for file, has in zip(found.shards, optional, strict=True):
      _check_names(file, [_OPTIONAL] if has else [], [_OPTIONAL])
    names.append(_OPTIONAL)
  lengths = [len(x) for x in episodes]
  if not sum(lengths):
    raise ValueError(f'Demonstrations must hold frames: none in {path}.')
  owners = np.repeat([str(file.parent) for file in found.shards], lengths)
  numbers = np.split(
    _number(np.concatenate(episodes), owners), np.cumsum(lengths)[:-1]
  )
  return Index(
    found.shards,
    facts[found.shards[0]],
    names,
    instructions,
    numbers,
    _distinct(tasks),
  )


def folders(shards: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """Returns the folders of shards, each once."""
  return sorted({file.parent for file in shards})


def check_length(
  file: pathlib.Path, name: str, part: np.ndarray, length: int
) -> None:
  """Raises a ValueError unless a column has a row for each frame."""
  if part.ndim == 0 or len(part) != length:
    raise ValueError(f'{file} must hold {length} rows of {name}: {part.shape}.')


def check_values(
  file: pathlib.Path, name: str, part: np.ndarray, first: int = 0
) -> None:
  """Raises a ValueError unless a column has its type and finite numbers.

  Args:
    file, name: for the message.
    part: rows of the column.
    first: number of the first of these rows.
  """
  dtype, ndim = _FORMS[name.partition('/')[0]]
  if part.dtype != dtype or part.ndim != ndim:
    raise ValueError(
      f'{name} must be {np.dtype(dtype)} with {ndim} axes: {part.dtype} '
      f'{part.shape} in {file}.'
    )
  if part.dtype == np.float32 and not np.isfinite(part).all():
    row, *place = np.argwhere(~np.isfinite(part))[0].tolist()
    raise ValueError(
      f'{name} must be finite: {part[(row, *place)]} in row {first + row} of '
      f'{file}.'
    )


def _check_same(facts: Mapping[pathlib.Path, Mapping[str, Any]]) -> None:
  first, *rest = facts
  for file in rest:
    if facts[file] != facts[first]:
      raise ValueError(
        'Demonstrations must share one action space (make_demos --like): '
        f'{facts[first]} in {first}, {facts[file]} in {file}.'
      )


def _distinct(tasks: Sequence[TaskFacts | None]) -> list[TaskFacts]:
  """Returns each task once; levels of difficulty of a task are one."""
  found = {}
  for task in tasks:
    if task is None:
      return []
    found.setdefault(task._replace(name=''), task)
  return list(found.values())


def _say_left_out(found: demo_files.Found, say: Callable[[str], None]) -> None:
  """Names files that are no demonstrations, and unfinished collections."""
  if found.others:
    names = [str(file) for file in found.others[:_NAMED]]
    more = len(found.others) - len(names)
    text = ', '.join(names) + (f' and {more} more' if more else '')
    say(f'Left out, as no demonstrations: {text}.')
  for folder in folders(found.shards):
    table = demo_files.read_record(folder) or {}
    done, total = len(table.get('shards', ())), table.get('num_shards', 0)
    if done < total:
      say(
        f'{folder} is unfinished, {done} of {total} shards: experiments.'
        f'make_demos --out={folder} --resume makes the rest.'
      )


def _check_names(
  file: pathlib.Path, names: Sequence[str], needed: Sequence[str]
) -> None:
  missing = [name for name in needed if name not in names]
  if missing:
    raise ValueError(
      f'{file} must hold {list(needed)}; it lacks {missing}. Record it with '
      'experiments.make_demos.'
    )


def _read_facts(file: pathlib.Path, shard: demo_files.Shard) -> dict[str, Any]:
  """Returns the action space of a shard by the fields of `Demos`."""
  facts = {
    'action_mode': str(shard.read('action_mode')),
    'action_scale': tuple(float(x) for x in shard.read('action_scale')),
    'joint_names': tuple(str(x) for x in shard.read('joint_names')),
    'control_hz': float(shard.read('control_hz')),
  }
  if not all(0.0 < x < np.inf for x in facts['action_scale']):
    raise ValueError(
      f'{file} must have a positive action_scale: {facts["action_scale"]}.'
    )
  return facts


def _read_task(file: pathlib.Path, shard: demo_files.Shard) -> TaskFacts | None:
  if 'task' not in shard.names:
    return None
  try:
    return demo_files.read_task(str(shard.read('task')))
  except ValueError as error:
    raise ValueError(f'{file}: {error}') from None


def _number(episode, owners):
  """Numbers episodes anew: two folders may both count from 0."""
  pairs = np.stack([np.unique(owners, return_inverse=True)[1], episode])
  return np.unique(pairs, axis=1, return_inverse=True)[1].astype(np.int32)
