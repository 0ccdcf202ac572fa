"""Reading a journal, also while a loop writes it."""

from collections.abc import Iterator
import os
import pathlib
import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rlt_jax.robot.recording import record_format

MAGIC = b'RLTJRNL1'
_NAME = re.compile(r'(\d{6,})-(\d{9,})\.(rows|open|bad)')


class JournalError(Exception):
  """The journal cannot be read or written; the text says where and why."""


class Part(NamedTuple):
  """One file. first: number of its first row. closed: no longer written."""

  number: int
  first: int
  closed: bool
  path: pathlib.Path


class Row(NamedTuple):
  """One row as read.

  index: its number. part: the part's. begin, end: what was said when the part
  began and ended; end is None while it is written, and for good if its
  writer died or was interrupted.
  """

  index: int
  part: int
  begin: Any
  end: Any
  meta: Any
  arrays: dict[str, np.ndarray]


def parts(folder: str | os.PathLike[str]) -> list[Part]:
  """Returns the parts of a journal in order, without those called `.bad`."""
  return [part for part in _files(folder) if part.path.suffix != '.bad']


def tail(
  folder: str | os.PathLike[str], after: int = -1, *, closed_only: bool = True
) -> Iterator[Row]:
  """Yields the rows there are now, in order; safe while a loop writes.

  Args:
    folder: of the journal.
    after: number of the last row that was had; -1 for all.
    closed_only: leave out the part being written. Its rows are neither safe
      from a power cut nor labelled, and may yet be recorded again.

  Raises:
    JournalError: a closed part is damaged; the rows before it were yielded.
  """
  found = [part for part in parts(folder) if part.closed or not closed_only]
  for i, part in enumerate(found):
    if i + 1 == len(found) or found[i + 1].first > after + 1:
      yield from _rows(part, after)


def _rows(part: Part, after: int) -> Iterator[Row]:
  try:
    file = part.path.open('rb')
  except FileNotFoundError:  # closed since it was listed
    part = part._replace(closed=True, path=part.path.with_suffix('.rows'))
    if not part.path.exists():  # or removed, for there was nothing in it
      return
    file = part.path.open('rb')
  with file:
    end = _end(part, file)[1] if part.closed else None
    file.seek(len(MAGIC))
    index, begin, kind = part.first, None, ''
    for payload in record_format.read(file):
      kind, meta, arrays = record_format.unpack(payload)
      if kind == 'begin':
        begin = meta
      elif kind == 'row':
        if index > after:
          yield Row(index, part.number, begin, end, meta, arrays)
        index += 1
    if part.closed and kind != 'end':
      raise _damage(part, file.tell())


def _end(part: Part, file: BinaryIO) -> tuple[int, Any]:
  """Returns how many rows a closed part has, and what ended it."""
  if file.read(len(MAGIC)) != MAGIC:
    raise _damage(part, 0)
  starts = list(record_format.skip(file, os.fstat(file.fileno()).st_size))
  last = starts[-1] if starts else len(MAGIC)
  file.seek(last)
  for payload in record_format.read(file):
    kind, meta, _ = record_format.unpack(payload)
    if kind == 'end':
      return len(starts) - 2, meta and meta['said']
  raise _damage(part, last)


def _damage(part: Part, at: int) -> JournalError:
  return JournalError(
    f'{part.path} is damaged at byte {at}, though it was written whole. Call '
    f'it {part.path.with_suffix(".bad").name} to go on without its rows.'
  )


def _files(folder: str | os.PathLike[str]) -> list[Part]:
  found = []
  for path in pathlib.Path(folder).iterdir():
    match = _NAME.fullmatch(path.name)
    if match:
      number, first = int(match[1]), int(match[2])
      found.append(Part(number, first, match[3] != 'open', path))
  return sorted(found)


def follow_on(folder: pathlib.Path) -> tuple[int, int]:
  """Returns the numbers of the next part and of the next row.

  Raises:
    JournalError: the last part is damaged.
  """
  files = _files(folder)
  if not files:
    return 0, 0
  last = files[-1]
  if last.path.suffix == '.bad':  # it cannot have held more rows than fit
    most = last.path.stat().st_size // record_format.MIN_BYTES
    return last.number + 1, last.first + most + 1
  with last.path.open('rb') as file:
    return last.number + 1, last.first + _end(last, file)[0]
