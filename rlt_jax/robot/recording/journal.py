"""Journals: the rows of a run, on disk before anything else uses them.

A journal is a folder of files, one for each episode. A file holds a magic
number and records (see `record_format`): one that begins it, its rows, and one
that ends it. While it is appended to it is called `<number>-<first row>.open`;
once it is called `.rows` all of it is on the disk. Files are numbered without a
gap, rows through all files, and no number is used twice, also where files were
removed (see `journal_files`).
`Journal` writes; `tail` reads, also while a process writes.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import errno
import math
import os
import pathlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rlt_jax.lock import lock_folder
from rlt_jax.robot.recording import identity, journal_files, record_format
from rlt_jax.robot.recording.journal_files import JournalFile

MAGIC = b'RLTJRNL3'
_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalError(Exception):
  """The journal cannot be read or written; the message has file and reason."""


class JournalFullError(JournalError):
  """The disk is full. What was written before is kept and can be read."""


class Row(NamedTuple):
  """One row as read.

  index: its number. file_number: of its file. begin, end: the meta of the
  records that begin and end the file; end is None while the file is written,
  and for good if its writer died or was interrupted.
  """

  index: int
  file_number: int
  begin: Any
  end: Any
  meta: Any
  arrays: dict[str, np.ndarray]


class Recovered(NamedTuple):
  """Content of a file whose writer was killed."""

  path: pathlib.Path
  rows: int
  dropped_bytes: int


def tail(
  folder: str | os.PathLike[str], after: int = -1, *, closed_only: bool = True
) -> Iterator[Row]:
  """Yields the rows there are now, in order; safe while a loop writes.

  Args:
    folder: of the journal.
    after: number of the last row that the caller has; -1 for all.
    closed_only: leave out the file being written. Its rows are neither safe
      from a power cut nor labeled, and the operator may still discard them.

  Raises:
    JournalError: a closed file is damaged; the rows before it were yielded.
  """
  for entry in unread_files(folder, after, closed_only=closed_only):
    yield from read_rows(entry, after)


def unread_files(
  folder: str | os.PathLike[str], after: int = -1, *, closed_only: bool = True
) -> list[JournalFile]:
  """Returns the files that may have rows after this one; see `tail`."""
  found = [
    x for x in journal_files.files(folder) if x.closed or not closed_only
  ]
  nexts = [*(x.first for x in found[1:]), math.inf]
  return [x for x, n in zip(found, nexts, strict=False) if n > after + 1]


class Journal:
  """Writes a journal; a context manager. One process at a time.

  recovered: the files that a writer before this one left open. Every whole
  row of them is kept.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    write: Callable[[int, memoryview], int] = os.write,
    sync: Callable[[int], None] = os.fsync,
  ):
    """Locks the folder and closes the files that were left open.

    Args:
      folder: of the journal; created if missing.
      write, sync: `os.write` and `os.fsync`, or replacements in tests.

    Raises:
      LockedError: another process writes there.
      JournalFullError: no room for the record that closes an open file.
      JournalError: the last file is damaged.
    """
    self.folder = pathlib.Path(folder)
    self._write, self._sync = write, sync
    self._fd: int | None = None
    self._unsafe = False  # a file that ended may not be on the disk
    self._lock = lock_folder(self.folder)
    try:
      identity.ensure(self.folder)
      self.recovered = tuple(
        self._recover(entry)
        for entry in journal_files.files(self.folder)
        if not entry.closed
      )
      self._number, self._next = _next_numbers(self.folder)
      # Also those of files that a version before this one wrote.
      journal_files.write_next(self.folder, self._number, self._next)
    except BaseException:
      self._lock.release()
      raise

  def begin(self, meta: Any = None) -> int:
    """Begins a file and returns its number.

    Args:
      meta: anything that JSON can hold, such as the policy's version.

    Raises:
      JournalFullError: nothing was begun.
      JournalError: the disk failed when the file before this ended.
      ValueError: a file is open, or meta is not JSON.
    """
    if self._fd is not None:
      raise ValueError(f'A file must end before the next begins: {self._path}.')
    if self._unsafe:
      raise JournalError(
        f'{self._path} may not be on the disk: open the journal anew.'
      )
    record = record_format.pack('begin', meta, {})
    self._path = self.folder / f'{self._number:06d}-{self._next:09d}.open'
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    self._fd, self._size = os.open(self._path, flags, 0o666), 0
    try:
      self._put(MAGIC + record)
    except BaseException:
      self._drop()
      self._path.unlink()
      raise
    self._number += 1
    return self._number - 1

  def append(self, arrays: Mapping[str, np.ndarray], meta: Any = None) -> int:
    """Adds a row and returns its number; never waits for the disk.

    A row survives the death of this process at once, and that of the machine
    once `end` has returned.

    Raises:
      JournalFullError: this row was not written, all before it were; it may
        be tried again.
      ValueError: no file is open, or `record_format.pack` refuses the row.
    """
    self._check_open()
    self._put(record_format.pack('row', meta, arrays), rows=1)
    return self._next - 1

  def end(self, meta: Any = None) -> None:
    """Ends the file; returns when it is on the disk, which may take long.

    Args:
      meta: anything that JSON can hold, such as the outcome.

    Raises:
      JournalFullError: the file stays open; it may be tried again.
      JournalError: the disk failed. The next `Journal` recovers the file.
      ValueError: no file is open, or meta is not JSON.
    """
    self._check_open()
    self._put(record_format.pack('end', {'meta': meta}, {}))
    self._finish()

  def close(self) -> None:
    """Ends an open file as interrupted, and unlocks the folder."""
    try:
      if self._fd is not None:
        self._put(record_format.pack('end', None, {}))
        self._finish()
    finally:
      self._drop()
      self._lock.release()

  def __enter__(self) -> 'Journal':
    return self

  def __exit__(self, *_):
    self.close()

  def _check_open(self) -> None:
    if self._fd is None:
      raise ValueError('A row needs a file: call begin() first.')

  def _put(self, record: bytes, rows: int = 0) -> None:
    """Appends all of the bytes or, at any exception, none of them."""
    rest = memoryview(record)
    try:
      while rest:
        rest = rest[self._write(self._fd, rest) :]
      self._size, self._next = self._size + len(record), self._next + rows
    except BaseException as error:
      os.ftruncate(self._fd, self._size)
      if isinstance(error, OSError):
        raise self._error(error) from error
      raise

  def _error(self, error: OSError) -> JournalError:
    if error.errno in _FULL:
      return JournalFullError(
        f'The disk of {self.folder} is full: the {self._next} rows before '
        'this are kept. Free some space and continue.'
      )
    return JournalError(f'{self._path} cannot be written: {error}.')

  def _drop(self) -> None:
    if self._fd is not None:
      os.close(self._fd)
      self._fd = None

  def _finish(self) -> None:
    """Waits until the file, and then its new name, are on the disk."""
    self._unsafe = True
    try:
      self._sync(self._fd)
      self._path.rename(self._path.with_suffix('.rows'))
      with contextlib.suppress(OSError):
        # A full disk must not end a run whose rows are written. A learner
        # notices if numbers are used again.
        journal_files.write_next(self.folder, self._number, self._next)
      folder = os.open(self.folder, os.O_RDONLY)
      try:
        self._sync(folder)
      finally:
        os.close(folder)
    except OSError as error:
      # No JournalFullError: the file is closed and cannot be gone on with.
      raise JournalError(f'{self._path} cannot be written: {error}.') from error
    finally:
      self._drop()
    self._unsafe = False

  def _recover(self, entry: JournalFile) -> Recovered:
    """Cuts off an incomplete record, ends the file and closes it."""
    kinds, size = [], entry.path.stat().st_size
    with entry.path.open('rb') as file:
      if _has_magic(entry, file):
        for payload in record_format.read(file):
          kinds.append(record_format.unpack(payload).kind)
      keep = file.tell()
    if not kinds:  # the writer died before the first record
      entry.path.unlink()
      return Recovered(entry.path, 0, size)
    self._path, self._size, self._number = entry.path, keep, entry.number + 1
    self._next = entry.first + kinds.count('row')
    self._fd = os.open(entry.path, os.O_WRONLY | os.O_APPEND)
    try:
      os.ftruncate(self._fd, keep)
      if kinds[-1] != 'end':
        self._put(record_format.pack('end', None, {}))
      self._finish()
    finally:
      self._drop()
    path = entry.path.with_suffix('.rows')
    return Recovered(path, kinds.count('row'), size - keep)


def read_rows(entry: JournalFile, after: int = -1) -> Iterator[Row]:
  """Yields the rows of one file; see `tail`."""
  try:
    file = entry.path.open('rb')
  except FileNotFoundError:  # closed since it was listed
    entry = entry._replace(closed=True, path=entry.path.with_suffix('.rows'))
    if not entry.path.exists():  # or removed, because it was empty
      return
    file = entry.path.open('rb')
  with file:
    end = _end(entry, file)[1] if entry.closed else None
    file.seek(0)
    _has_magic(entry, file)
    index, begin, kind = entry.first, None, ''
    for payload in record_format.read(file):
      kind, meta, arrays = record_format.unpack(payload)
      if kind == 'begin':
        begin = meta
      elif kind == 'row':
        if index > after:
          yield Row(index, entry.number, begin, end, meta, arrays)
        index += 1
    if entry.closed and kind != 'end':
      raise _damage(entry, file.tell())


def _end(entry: JournalFile, file: BinaryIO) -> tuple[int, Any]:
  """Returns the number of rows of a closed file, and the meta of its end."""
  if not _has_magic(entry, file):
    raise _damage(entry, 0)
  starts = list(record_format.skip(file, os.fstat(file.fileno()).st_size))
  last = starts[-1] if starts else len(MAGIC)
  file.seek(last)
  for payload in record_format.read(file):
    kind, meta, _ = record_format.unpack(payload)
    if kind == 'end':
      return len(starts) - 2, meta and meta['meta']
  raise _damage(entry, last)


def _has_magic(entry: JournalFile, file: BinaryIO) -> bool:
  """Reads the magic number; False where there is none.

  Raises:
    JournalError: it is of another version of the format.
  """
  magic = file.read(len(MAGIC))
  if magic[:-1] == MAGIC[:-1] and magic != MAGIC:
    raise JournalError(
      f'{entry.path} must have the format {MAGIC.decode()}: {magic.decode()}. '
      'Start a new journal.'
    )
  return magic == MAGIC


def _damage(entry: JournalFile, at: int) -> JournalError:
  return JournalError(
    f'{entry.path} is damaged at byte {at}, though it was written whole. Call '
    f'it {entry.path.with_suffix(".bad").name} to continue without its rows.'
  )


def _next_numbers(folder: pathlib.Path) -> tuple[int, int]:
  """Returns the numbers of the next file and of the next row.

  Raises:
    JournalError: the last file is damaged.
  """
  number, row = journal_files.read_next(folder)
  found = journal_files.list_all(folder)
  if not found or found[-1].number + 1 < number:
    return number, row  # the files after the last one were removed
  last = found[-1]
  if last.path.suffix == '.bad':  # it cannot have held more rows than fit
    most = last.path.stat().st_size // record_format.MIN_BYTES
    return last.number + 1, last.first + most + 1
  return last.number + 1, last_row(last) + 1


def last_row(entry: JournalFile) -> int:
  """Returns the number of the last row of a closed file.

  It is that of the last row before the file if the file has none.

  Raises:
    JournalError: the file is damaged.
  """
  with entry.path.open('rb') as file:
    return entry.first + _end(entry, file)[0] - 1
