"""The files of a folder of demonstrations: finding and reading them safely.

A folder holds shards, .npz files with a row per stored frame, and `RECORD`,
how the episodes ended. `demonstrations.writer` writes them, `vlas.demos` reads
them.
"""

from collections.abc import Iterator, Sequence
import contextlib
import json
import math
import os
import pathlib
from typing import Any, NamedTuple
import zipfile
import zlib

import numpy as np

from rlt_jax import files, lock

RECORD = 'demos.json'  # a training copies it into the VLA's folder
_PathLike = str | os.PathLike[str]
# What NumPy and zipfile raise on a file that is cut or has other bytes.
_DAMAGE = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError)


class TaskFacts(NamedTuple):
  """The task of demonstrations; the fields are those of its `TaskSpec`."""

  name: str
  instruction: str
  phrasings: tuple[str, ...]
  other_instructions: tuple[str, ...]
  proprio_names: tuple[str, ...]

  def to_json(self) -> str:
    """Returns the text that a shard holds as 'task'."""
    return json.dumps(self._asdict())


def read_task(text: str) -> TaskFacts:
  """Returns what `TaskFacts.to_json` wrote.

  Raises:
    ValueError: another text.
  """
  try:
    fields = json.loads(text)
    return TaskFacts(**{
      name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()
    })  # fmt: skip
  except (ValueError, TypeError, AttributeError):
    raise ValueError(
      f'A task must be the JSON that make_demos writes: {text!r}.'
    ) from None


class Found(NamedTuple):
  """Files below a path.

  shards: in order of name. others: what is no shard and no record of ours,
    such as hidden files of another system and half-written shards.
  """

  shards: list[pathlib.Path]
  others: list[pathlib.Path]


def find(path: _PathLike) -> Found:
  """Finds the shards at a path: one .npz file, or all below a folder.

  Raises:
    ValueError: no such path, or a folder without a shard.
  """
  path = pathlib.Path(path)
  if path.is_file():
    return Found([path], [])
  shards, others = [], []
  for file in sorted(path.rglob('*')):
    if file.is_dir() or file.name in (RECORD, lock.FILE):
      continue
    hidden = any(part.startswith('.') for part in file.relative_to(path).parts)
    is_shard = file.suffix == '.npz' and not hidden
    (shards if is_shard else others).append(file)
  if not shards:
    raise ValueError(
      'Demonstrations must be an .npz file or a folder that holds some, made '
      f'by experiments.make_demos: {path}.'
    )
  return Found(shards, others)


class Shard:
  """An open shard.

  names: of its arrays.
  """

  def __init__(self, file: pathlib.Path, content: Any):
    self._file, self._content = file, content
    self.names: Sequence[str] = content.files

  def read(self, name: str) -> np.ndarray:
    """Returns an array.

    Raises:
      ValueError: it is missing or damaged; the message names the file.
    """
    try:
      return self._content[name]
    except _DAMAGE as error:
      raise _damaged(self._file, error) from None

  def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
    """Returns rows of an array, without the rest of it in memory.

    Raises:
      ValueError: it is missing or damaged, or has fewer rows.
    """
    try:
      with self._content.zip.open(f'{name}.npy') as member:
        _check_version(np.lib.format.read_magic(member))
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(member)
        if by_column or dtype.hasobject or not shape or shape[0] < stop:
          raise ValueError(f'{name} {shape} has no row {stop - 1}')
        rows = (stop - start, *shape[1:])
        width = dtype.itemsize * math.prod(shape[1:])
        member.seek(start * width, os.SEEK_CUR)
        content = member.read((stop - start) * width)
        return np.frombuffer(content, dtype).reshape(rows)
    except _DAMAGE as error:
      raise _damaged(self._file, error) from None


def _check_version(version: tuple[int, int]) -> None:
  if version != (1, 0):  # NumPy writes others for odd names of fields alone
    raise ValueError(f'an array of format {version}')


@contextlib.contextmanager
def open_shard(file: pathlib.Path) -> Iterator[Shard]:
  """Opens a shard.

  Raises:
    ValueError: it is no whole .npz file; the message names it.
  """
  try:
    content = np.load(file, allow_pickle=False)
  except _DAMAGE as error:
    raise _damaged(file, error) from None
  if not isinstance(content, np.lib.npyio.NpzFile):
    raise _damaged(file, 'it is a single array')
  with content:
    yield Shard(file, content)


def _damaged(file: pathlib.Path, reason: object) -> ValueError:
  return ValueError(
    f'A shard of demonstrations must be a whole .npz file: {file} ({reason}). '
    'Remove it, or make it again with experiments.make_demos.'
  )


def read_record(folder: pathlib.Path) -> dict[str, Any] | None:
  """Returns what `RECORD` of a folder holds; None without the file.

  Returns:
    'outcome' and 'steps', lists with an entry per episode, and more.

  Raises:
    ValueError: a file of another form.
  """
  file = folder / RECORD
  if not file.is_file():
    return None
  table = files.read_json(file)
  columns = [table.get(name) for name in ('outcome', 'steps')]
  whole = all(
    isinstance(x, list) and all(isinstance(entry, int) for entry in x)
    for x in columns
  )
  if not whole or len(columns[0]) != len(columns[1]):
    raise ValueError(
      f"{file} must hold lists 'outcome' and 'steps' of whole numbers, of one "
      'length.'
    )
  return table
