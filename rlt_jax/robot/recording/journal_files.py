"""Names and numbers of the files of a journal.

The file `next` has the numbers that come next, of a file and of a row, so that
none is used again after the newest file was removed: a reader knows by them
what it has read.
"""

import os
import pathlib
import re
from typing import NamedTuple

NEXT = 'next'
_NAME = re.compile(r'(\d{6,})-(\d{9,})\.(rows|open|bad)')
_NUMBERS = re.compile(r'(\d{6,})-(\d{9,})\n')


class JournalFile(NamedTuple):
  """One file. first: number of its first row. closed: no longer written."""

  number: int
  first: int
  closed: bool
  path: pathlib.Path


def files(folder: str | os.PathLike[str]) -> list[JournalFile]:
  """Returns a journal's files in order, those called `.bad` left out."""
  return [x for x in list_all(folder) if x.path.suffix != '.bad']


def list_all(folder: str | os.PathLike[str]) -> list[JournalFile]:
  """Returns a journal's files in order."""
  found = []
  folder = pathlib.Path(folder)
  # A learner may be started before the first writer.
  for path in folder.iterdir() if folder.exists() else ():
    match = _NAME.fullmatch(path.name)
    if match:
      number, first = int(match[1]), int(match[2])
      found.append(JournalFile(number, first, match[3] != 'open', path))
  return sorted(found)


def missing_numbers(
  folder: str | os.PathLike[str], after: int = -1
) -> list[int]:
  """Returns the numbers of files that were removed or renamed.

  Args:
    folder: of the journal.
    after: number of the last file that the caller has; -1 for all.
  """
  missing: set[int] | None = None
  for _ in range(2):  # a file may be renamed while the folder is listed
    # Before the folder is listed: what is written since then is in both.
    following = read_next(folder)[0]
    found = {x.number for x in list_all(folder)}
    end = max(following, max(found, default=-1))
    gone = set(range(after + 1, end)) - found
    missing = gone if missing is None else missing & gone
  return sorted(missing)


def read_next(folder: str | os.PathLike[str]) -> tuple[int, int]:
  """Returns the numbers of the next file and row, (0, 0) before the first.

  An older version, which used numbers again, has not written them; then they
  are (0, 0) as well.
  """
  path = pathlib.Path(folder) / NEXT
  text = path.read_text('utf-8', 'replace') if path.exists() else ''
  match = _NUMBERS.fullmatch(text)
  return (int(match[1]), int(match[2])) if match else (0, 0)


def write_next(folder: pathlib.Path, number: int, row: int) -> None:
  """Notes the numbers of the next file and row; they never go back.

  Raises:
    OSError: the disk has failed.
  """
  before = read_next(folder)
  text = f'{max(number, before[0]):06d}-{max(row, before[1]):09d}\n'
  fd = os.open(folder / NEXT, os.O_WRONLY | os.O_CREAT, 0o666)
  try:
    # In place, as a full disk has no room for another file: the first writer
    # makes it before there are rows. It need not be synced: while the files are
    # there, the next writer finds them.
    os.pwrite(fd, text.encode(), 0)
  finally:
    os.close(fd)
