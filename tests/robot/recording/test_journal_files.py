"""Names and numbers of the files of a journal."""

import errno
import os

from rlt_jax.robot.recording import journal_files
from rlt_jax.robot.recording.journal import Journal, tail
from rlt_jax.robot.recording.journal_files import files, missing_numbers
from tests.robot.recording.test_journal import (
  make_row,
  read_indices,
  write_journal,
)


def test_a_file_that_was_removed_is_missed(tmp_path):
  assert missing_numbers(tmp_path) == []
  write_journal(tmp_path, episodes=4)
  assert missing_numbers(tmp_path) == []
  files(tmp_path)[2].path.unlink()
  assert missing_numbers(tmp_path) == [2]
  assert missing_numbers(tmp_path, after=2) == []
  files(tmp_path)[1].path.rename(tmp_path / 'elsewhere')
  assert missing_numbers(tmp_path) == [1, 2]
  # One that is set aside as damaged is known.
  bad = files(tmp_path)[0].path
  bad.rename(bad.with_suffix('.bad'))
  assert missing_numbers(tmp_path) == [1, 2]


def test_numbers_are_not_used_again_after_the_newest_file_was_removed(tmp_path):
  write_journal(tmp_path, episodes=3)
  files(tmp_path)[-1].path.unlink()
  assert missing_numbers(tmp_path) == [2]
  write_journal(tmp_path, episodes=1, rows=5)
  assert [entry.number for entry in files(tmp_path)] == [0, 1, 3]
  assert read_indices(tmp_path, after=8) == list(range(9, 14))
  # Also those of a file whose writer was killed and that was recovered.
  last = files(tmp_path)[-1].path
  last.rename(last.with_suffix('.open'))
  (tmp_path / journal_files.NEXT).write_text('000001-000000003\n')
  Journal(tmp_path).close()
  last.unlink()
  write_journal(tmp_path, episodes=1)
  assert files(tmp_path)[-1][:2] == (4, 14)


def test_a_journal_of_a_version_without_next_numbers_goes_on(tmp_path):
  write_journal(tmp_path)
  (tmp_path / journal_files.NEXT).unlink()
  assert missing_numbers(tmp_path) == []
  Journal(tmp_path).close()
  assert journal_files.read_next(tmp_path) == (2, 6)
  files(tmp_path)[-1].path.unlink()
  write_journal(tmp_path, episodes=1)
  assert files(tmp_path)[-1][:2] == (2, 6)


def test_a_full_disk_keeps_next_numbers_back_and_no_row(tmp_path, monkeypatch):
  def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with Journal(tmp_path) as journal:
    # Made before the disk can be full, as later it is written in place.
    assert (tmp_path / journal_files.NEXT).exists()
    monkeypatch.setattr(journal_files.os, 'pwrite', fail)
    for _ in range(2):
      journal.begin()
      journal.append(make_row(0))
      journal.end({'outcome': 'success'})
  assert read_indices(tmp_path) == [0, 1]
  assert {row.end['outcome'] for row in tail(tmp_path)} == {'success'}


def test_next_numbers_never_go_back(tmp_path):
  journal_files.write_next(tmp_path, 3, 70)
  journal_files.write_next(tmp_path, 4, 60)
  assert journal_files.read_next(tmp_path) == (4, 70)
  (tmp_path / journal_files.NEXT).write_bytes(b'\xff0')
  assert journal_files.read_next(tmp_path) == (0, 0)
