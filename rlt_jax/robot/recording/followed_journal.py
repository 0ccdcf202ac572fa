"""A journal as its learner follows it: each episode once, none in silence."""

from collections.abc import Iterator
import os

from rlt_jax.robot.recording import episodes, identity, journal_files
from rlt_jax.robot.recording import journal as journal_lib
from rlt_jax.robot.recording.journal import JournalError


class FollowedJournal:
  """Place in a journal; says in words what is missing there.

  folder: of the journal. name: its identity, '' before its first writer.
  after, file: number of the last row that was read, and of its file; -1 before
  the first.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    name: str = '',
    after: int = -1,
    file: int = -1,
  ):
    """Reads nothing; the arguments are the attributes."""
    self.folder, self.name, self.after, self.file = folder, name, after, file
    self._missed: set[int] = set()  # files, said once
    self._waits = False  # for a journal, said once

  def read_new(self) -> Iterator[episodes.Episode]:
    """Yields the episodes that are new; call `pass_by` after each.

    Another journal than before is read from its beginning, which is said, as
    are files that are missing, and a folder without a journal.

    Raises:
      JournalError: a file is damaged, or the journal lacks what was read from
        it before; the episodes before it were yielded.
    """
    self._check()
    yield from episodes.read(self.folder, self.after)

  def pass_by(self, episode: episodes.Episode) -> None:
    """Notes that an episode need not be read again."""
    self.after, self.file = episode.index, episode.file_number

  def _check(self) -> None:
    name = identity.read(self.folder)
    if not name and not self._waits and not journal_files.files(self.folder):
      _say(f'Waiting for a journal in {os.path.abspath(self.folder)}.')
      self._waits = True
    if name and name != self.name:
      if self.name:
        _say(
          f'{self.folder} is another journal than before: it is read from its '
          'beginning, and what was learned is kept.'
        )
        self.after = self.file = -1
        self._missed.clear()
      self.name = name
    elif name and self.file >= 0:
      self._check_last()
    gone = journal_files.missing_numbers(self.folder, self.file)
    if new := sorted(set(gone) - self._missed):
      self._missed.update(new)
      _say(
        f'{self.folder} must have files with the numbers {new}: they are '
        'missing, and what is in them is not learned.'
      )

  def _check_last(self) -> None:
    """Raises JournalError if the file read last is another one now."""
    found = journal_files.list_all(self.folder)
    newest = found[-1].number if found else -1
    if max(newest, journal_files.read_next(self.folder)[0] - 1) < self.file:
      raise self._lacks(f'its newest file is {newest}')
    for entry in found:
      if entry.number == self.file and entry.path.suffix != '.bad':
        end = journal_lib.last_row(entry) if entry.closed else None
        if end != self.after:
          raise self._lacks(f'that file ends with row {end}')

  def _lacks(self, what: str) -> JournalError:
    return JournalError(
      f'{self.folder} must have what was learned from it, up to row '
      f'{self.after} in file {self.file}: {what}. It is an older copy, or its '
      'newest files were removed and their numbers used again. Give the '
      'learner the journal that it has learned from, or a new workdir.'
    )


def _say(text: str) -> None:
  print(text, flush=True)
