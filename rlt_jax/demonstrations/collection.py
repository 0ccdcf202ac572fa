"""The folder of a collection of demonstrations, and how far it has come."""

from collections.abc import Iterator, Mapping, Sequence
import json
import os
import pathlib
import shlex
from typing import Any

from rlt_jax import demo_files, files, lock


def first_command(folder: str | os.PathLike[str]) -> list[str]:
  """Returns the command that began the collection in a folder.

  Raises:
    ValueError: no collection of this version.
  """
  return shlex.split(_read(pathlib.Path(folder))['command'])


def _read(folder: pathlib.Path) -> dict[str, Any]:
  table = demo_files.read_record(folder)
  if table is None or 'settings' not in table:
    raise ValueError(
      '--resume needs the folder of an interrupted collection: '
      f'{folder} holds no {demo_files.RECORD} with its settings. Leave '
      '--resume out to begin.'
    )
  return table


def check_new(folder: str | os.PathLike[str]) -> None:
  """Raises a ValueError unless a new collection can be written to a folder."""
  folder = pathlib.Path(folder)
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'The folder must not be a file: {folder}.')
  if (folder / demo_files.RECORD).exists():
    raise ValueError(
      'A new collection needs a new folder; --resume continues an '
      f'interrupted one: {folder} holds {demo_files.RECORD}.'
    )
  names = sorted(os.listdir(folder)) if folder.exists() else []
  if names := [name for name in names if name != lock.FILE]:
    raise ValueError(
      f'The folder must be a new or an empty one: {folder} holds {names[:3]}.'
    )
  files.check_creatable(folder)


class Collection:
  """Shards of frames in a folder, and demos.json.

  folder: of the files.
  table: content of demos.json: 'outcome' and 'steps' of every episode of the
    task's own instruction, lists in order; 'command'; 'shards', the number of
    demonstrations in each shard so far; 'num_shards', how many there will be;
    'diverged', how many worlds were left out; 'settings', of the collection.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    *,
    resume: bool = False,
  ):
    """Touches no file.

    Args:
      folder: new or empty; with `resume` that of an interrupted collection.
      settings: JSON object that decides what is collected.
      resume: continue the collection.
    """
    self.folder = pathlib.Path(folder)
    self.table: dict[str, Any] = {}
    # As JSON has it, to compare with what is read.
    self._settings = json.loads(json.dumps(settings))
    self._resume = resume

  def open(
    self, num_shards: int, command: str, *, with_files: bool
  ) -> list[int]:
    """Begins or continues the collection; returns the shards to make.

    Args:
      num_shards: of the whole collection.
      command: command line, for demos.json.
      with_files: whether shards are files, not only entries in demos.json.

    Raises:
      ValueError: a folder in use, or one without this collection.
      OSError: the folder cannot be written.
    """
    if self._resume:
      self._continue()
    else:
      self._begin(num_shards, command)
    done = len(self.table['shards'])
    lost = [
      shard
      for shard, count in enumerate(self.table['shards'])
      if with_files and count and not self.shard_file(shard).exists()
    ]
    return lost + list(range(done, num_shards))

  def shard_file(self, shard: int) -> pathlib.Path:
    """Returns the path of a shard, from 0."""
    return self.folder / f'shard_{shard:03d}.npz'

  def has_frames(self) -> bool:
    """Returns whether there is a file of a shard."""
    return any(
      count and self.shard_file(shard).exists()
      for shard, count in enumerate(self.table['shards'])
    )

  def count_before(self, shard: int) -> int:
    """Returns the number of demonstrations in the shards before one."""
    return sum(self.table['shards'][:shard])

  def add(
    self,
    shard: int,
    *,
    outcome: Sequence[int],
    steps: Sequence[int],
    demonstrations: int,
    diverged: int,
  ) -> None:
    """Enters a shard whose file is written; one that was lost is entered."""
    if shard < len(self.table['shards']):
      return
    self.table['outcome'] += outcome
    self.table['steps'] += steps
    self.table['diverged'] += diverged
    self.table['shards'].append(demonstrations)
    self._write()

  def _begin(self, num_shards: int, command: str) -> None:
    check_new(self.folder)
    self.folder.mkdir(parents=True, exist_ok=True)
    self.table = {
      'outcome': [],
      'steps': [],
      'command': command,
      'shards': [],
      'num_shards': num_shards,
      'diverged': 0,
      'settings': self._settings,
    }
    self._write()

  def _continue(self) -> None:
    table = _read(self.folder)
    for name, before, now in _differences(table['settings'], self._settings):
      raise ValueError(
        'A resumed collection must keep its settings: '
        f'{name} was {before!r} and is now {now!r}.'
      )
    self.table = table

  def _write(self) -> None:
    files.write_atomically(
      self.folder / demo_files.RECORD, json.dumps(self.table) + '\n'
    )


def _differences(
  before: Any, now: Any, name: str = ''
) -> Iterator[tuple[str, Any, Any]]:
  """Yields (dotted name, before, now) of the entries that differ."""
  if isinstance(before, dict) and isinstance(now, dict):
    for key in [*before, *(key for key in now if key not in before)]:
      yield from _differences(
        before.get(key), now.get(key), f'{name}.{key}' if name else key
      )
  elif before != now:
    yield name, before, now
