"""The rows of a run on disk before anything else uses them.

A journal is a folder with one file per part of an episode, each a magic
number and records (see `framing`): one that begins the part, its rows, one
that ends it. A file is appended to as `<part>-<first row>.open`, and is on
the disk, whatever happens next, once it is called `.rows`. Rows are numbered
through all files; no number is used twice.
"""

from collections.abc import Callable, Mapping
import errno
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.lock import lock_folder
from rlt_jax.robot.recording import journal_reader, record_format
from rlt_jax.robot.recording.journal_reader import JournalError, MAGIC, Part

_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalFullError(JournalError):
  """The disk is full. What was written before is kept, and stays readable."""


class Recovered(NamedTuple):
  """What was found of a part whose writer died."""

  path: pathlib.Path
  rows: int
  dropped_bytes: int


class Journal:
  """Writes one; a context manager. One process at a time.

  recovered: the parts that a writer before this one left open. Every whole
  row of them is kept.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    write: Callable[[int, memoryview], int] = os.write,
    sync: Callable[[int], None] = os.fsync,
  ):
    """Locks the folder, made if missing, and closes what was left open.

    Args:
      folder: of the journal.
      write, sync: what writes, and what waits for the disk.

    Raises:
      LockedError: another process writes there.
      JournalFullError: no room for the record that closes an open part.
      JournalError: the last part is damaged.
    """
    self.folder = pathlib.Path(folder)
    self._write, self._sync = write, sync
    self._fd: int | None = None
    self._unsafe = False  # a part that ended may not be on the disk
    self._lock = lock_folder(self.folder)
    try:
      self.recovered = tuple(
        self._recover(part)
        for part in journal_reader.parts(self.folder)
        if not part.closed
      )
      self._number, self._next = journal_reader.follow_on(self.folder)
    except BaseException:
      self._lock.release()
      raise

  def begin(self, meta: Any = None) -> int:
    """Begins a part and returns its number.

    Args:
      meta: anything JSON can say, such as the policy's version.

    Raises:
      JournalFullError: nothing was begun.
      JournalError: the disk failed when the part before this ended.
      ValueError: a part is open, or meta is not JSON.
    """
    if self._fd is not None:
      raise ValueError(f'A part must end before the next begins: {self._path}.')
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

    It survives the death of this process at once, and that of the machine
    from `end` on.

    Raises:
      JournalFullError: this row is not there, all before it are; it may be
        tried again.
      ValueError: no part is open, or a row that `framing.pack` refuses.
    """
    self._check_open()
    self._put(record_format.pack('row', meta, arrays), rows=1)
    return self._next - 1

  def end(self, meta: Any = None) -> None:
    """Ends the part; returns when it is on the disk, which may take long.

    Args:
      meta: anything JSON can say, such as the outcome.

    Raises:
      JournalFullError: the part stays open; it may be tried again.
      JournalError: the disk failed. The next `Journal` recovers the part.
      ValueError: no part is open, or meta is not JSON.
    """
    self._check_open()
    self._put(record_format.pack('end', {'said': meta}, {}))
    self._finish()

  def close(self) -> None:
    """Ends a part that is open, as interrupted, and unlocks the folder."""
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
      raise ValueError('A row needs a part: call begin() first.')

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
        'this are kept. Make room and go on.'
      )
    return JournalError(f'{self._path} cannot be written: {error}.')

  def _drop(self) -> None:
    if self._fd is not None:
      os.close(self._fd)
      self._fd = None

  def _finish(self) -> None:
    """Waits until the part, and then its new name, are on the disk."""
    self._unsafe = True
    try:
      self._sync(self._fd)
      self._path.rename(self._path.with_suffix('.rows'))
      folder = os.open(self.folder, os.O_RDONLY)
      try:
        self._sync(folder)
      finally:
        os.close(folder)
    except OSError as error:
      raise self._error(error) from error
    finally:
      self._drop()
    self._unsafe = False

  def _recover(self, part: Part) -> Recovered:
    """Cuts off what is not whole, ends the part, and calls it closed."""
    kinds, size = [], part.path.stat().st_size
    with part.path.open('rb') as file:
      if file.read(len(MAGIC)) == MAGIC:
        for payload in record_format.read(file):
          kinds.append(record_format.unpack(payload).kind)
      keep = file.tell()
    if not kinds:  # died before there was a part
      part.path.unlink()
      return Recovered(part.path, 0, size)
    self._path, self._size, self._next = part.path, keep, part.first
    self._fd = os.open(part.path, os.O_WRONLY | os.O_APPEND)
    try:
      os.ftruncate(self._fd, keep)
      if kinds[-1] != 'end':
        self._put(record_format.pack('end', None, {}))
      self._finish()
    finally:
      self._drop()
    path = part.path.with_suffix('.rows')
    return Recovered(path, kinds.count('row'), size - keep)
