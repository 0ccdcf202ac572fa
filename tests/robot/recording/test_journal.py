import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.lock import LockedError
from rlt_jax.robot.recording import identity
from rlt_jax.robot.recording.journal import (
  Journal,
  JournalError,
  JournalFullError,
  tail,
)
from rlt_jax.robot.recording.journal_files import files

# Writes rows until it is killed: without a word between two writes, or in the
# middle of the write of row 25.
_WRITER = """
import os, signal, sys
import numpy as np
from rlt_jax.robot.recording.journal import Journal

rows = 0

def write(fd, data):
  if sys.argv[2] == 'torn' and rows == 25:
    os.write(fd, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
  return os.write(fd, data)

with Journal(sys.argv[1], write=write) as journal:
  while True:
    journal.begin({'version': rows})
    for i in range(10):
      journal.append({'x': np.full(100, rows, np.float32)})
      rows += 1
      print(rows, flush=True)
    journal.end({'outcome': 'success'})
"""


def make_row(i):
  return {'x': np.full(3, i, np.float32), 'i': np.int64(i)}


def write_journal(folder, *, episodes=2, rows=3, **arguments):
  with Journal(folder, **arguments) as journal:
    for episode in range(episodes):
      journal.begin({'episode': episode})
      for _ in range(rows):
        journal.append(make_row(0), {'t': 0.5})
      journal.end({'outcome': 'success'})


def read_indices(folder, **arguments):
  return [row.index for row in tail(folder, **arguments)]


def test_rows_come_back_in_order_with_their_meta(tmp_path):
  with Journal(tmp_path) as journal:
    for episode in range(3):
      assert journal.begin({'version': episode}) == episode
      for i in range(2):
        index = 2 * episode + i
        assert journal.append(make_row(index), {'late_s': 0.001}) == index
      journal.end({'outcome': 'failure'})
  rows = list(tail(tmp_path))
  assert [row.index for row in rows] == list(range(6))
  assert [row.file_number for row in rows] == [0, 0, 1, 1, 2, 2]
  for row in rows:
    np.testing.assert_array_equal(row.arrays['x'], np.full(3, row.index))
    assert row.begin == {'version': row.file_number}
    assert row.end == {'outcome': 'failure'}
    assert row.meta == {'late_s': 0.001}


def test_an_episode_is_on_the_disk_when_end_returns(tmp_path):
  synced = []

  def sync(fd):
    synced.append(os.readlink(f'/proc/self/fd/{fd}'))

  with Journal(tmp_path, sync=sync) as journal:
    journal.begin()
    journal.append(make_row(0))
    assert synced == []  # the loop does not wait for the disk
    journal.end()
  # First what is in the file, then its name.
  assert synced == [str(tmp_path / '000000-000000000.open'), str(tmp_path)]


def test_a_second_loop_on_the_same_journal_is_refused(tmp_path):
  with Journal(tmp_path):
    with pytest.raises(LockedError, match=f'process {os.getpid()} has it'):
      Journal(tmp_path)
  Journal(tmp_path).close()


def test_a_new_writer_goes_on_where_the_last_one_stopped(tmp_path):
  write_journal(tmp_path)
  write_journal(tmp_path, episodes=1)
  assert read_indices(tmp_path) == list(range(9))
  assert [entry.number for entry in files(tmp_path)] == [0, 1, 2]


def test_an_exception_ends_the_file_as_interrupted(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with Journal(tmp_path) as journal:
      journal.begin({'episode': 0})
      journal.append(make_row(0))
      raise KeyboardInterrupt
  (row,) = tail(tmp_path)
  assert (row.begin, row.end) == ({'episode': 0}, None)
  with Journal(tmp_path) as journal:
    assert journal.recovered == ()


@pytest.mark.parametrize('how', ['torn', 'any'])
def test_kill_9_loses_no_row(tmp_path, how):
  writer = subprocess.Popen(
    [sys.executable, '-c', _WRITER, str(tmp_path), how],
    stdout=subprocess.PIPE,
    text=True,
  )
  num_written = 0
  for line in writer.stdout:
    num_written = int(line)
    if how == 'any' and num_written == 57:
      writer.send_signal(signal.SIGKILL)
  assert writer.wait() == -signal.SIGKILL
  writer.stdout.close()
  # Before anybody recovers it, what was whole can be read.
  assert len(read_indices(tmp_path, closed_only=False)) >= num_written
  with Journal(tmp_path) as journal:
    dropped = sum(found.dropped_bytes for found in journal.recovered)
    assert dropped > 0 or how == 'any'
    journal.begin()
    journal.append({'x': np.full(100, -1.0)})
    journal.end()
  *rows, last = tail(tmp_path)
  assert len(rows) >= num_written >= (25 if how == 'torn' else 57)
  for i, row in enumerate(rows):
    assert row.index == i and np.all(row.arrays['x'] == i)
  assert rows[-1].end is None or how == 'any'
  assert last.index == len(rows)


def test_whole_rows_survive_a_cut_at_any_byte(tmp_path):
  write_journal(tmp_path / 'whole', episodes=1)
  (entry,) = files(tmp_path / 'whole')
  data = entry.path.read_bytes()
  counts = []
  for size in range(len(data) + 1):
    folder = tmp_path / str(size)
    folder.mkdir()
    (folder / entry.path.with_suffix('.open').name).write_bytes(data[:size])
    with Journal(folder, sync=lambda fd: None) as journal:
      (found,) = journal.recovered
    counts.append(len(read_indices(folder)))
    kept = found.path.stat().st_size if found.path.exists() else 0
    assert found.rows == counts[-1]
    assert 0 <= found.dropped_bytes <= size
    if size == len(data):
      assert (found.dropped_bytes, kept) == (0, size)
  assert counts == sorted(counts) and set(counts) == {0, 1, 2, 3}


class _Disk:
  """A disk with room for so many bytes, after which half a write fits."""

  def __init__(self, room):
    self.room = room

  def write(self, fd, data):
    if self.room <= 0:
      raise OSError(errno.ENOSPC, 'No space left on device')
    written = os.write(fd, data[: self.room])
    self.room -= written
    return written


def test_writing_goes_on_after_a_full_disk_has_room_again(tmp_path):
  disk = _Disk(400)
  with Journal(tmp_path, write=disk.write) as journal:
    journal.begin()
    rows = 0
    with pytest.raises(JournalFullError, match=r'the [1-9] rows before this'):
      while True:
        journal.append(make_row(rows))
        rows += 1
    assert read_indices(tmp_path, closed_only=False) == list(range(rows))
    with pytest.raises(JournalFullError):
      journal.end()
    disk.room = 10_000
    assert journal.append(make_row(rows)) == rows
    journal.end({'outcome': 'success'})
    disk.room = 20
    with pytest.raises(JournalFullError):
      journal.begin()
    disk.room = 10_000
    assert journal.begin() == 1
  assert read_indices(tmp_path) == list(range(rows + 1))
  assert {row.end['outcome'] for row in tail(tmp_path)} == {'success'}


def test_a_disk_that_stays_full_leaves_a_file_to_recover(tmp_path):
  with pytest.raises(JournalFullError):
    with Journal(tmp_path, write=_Disk(200).write) as journal:
      journal.begin()
      while True:
        journal.append(make_row(0))
  with pytest.raises(JournalFullError):
    Journal(tmp_path, write=_Disk(0).write)
  with Journal(tmp_path) as journal:
    assert journal.recovered[0].rows == len(read_indices(tmp_path)) > 0


@pytest.mark.parametrize('number', [errno.EIO, errno.EDQUOT, errno.ENOSPC])
def test_a_disk_that_fails_ends_the_writing(tmp_path, number):
  def sync(fd):
    raise OSError(number, os.strerror(number))

  with Journal(tmp_path, sync=sync) as journal:
    journal.begin()
    journal.append(make_row(0))
    with pytest.raises(JournalError, match='cannot be written: ') as raised:
      journal.end({'outcome': 'success'})
    assert raised.type is JournalError  # it cannot be tried again
    with pytest.raises(JournalError, match='may not be on the disk'):
      journal.begin()
  with Journal(tmp_path) as journal:
    assert [found.rows for found in journal.recovered] == [1]
  assert next(tail(tmp_path)).end == {'outcome': 'success'}


def test_calls_in_the_wrong_order_are_refused(tmp_path):
  with Journal(tmp_path) as journal:
    for call in (lambda: journal.append({}), journal.end):
      with pytest.raises(ValueError, match=r'call begin\(\) first'):
        call()
    journal.begin()
    with pytest.raises(ValueError, match='must end before the next begins'):
      journal.begin()
    with pytest.raises(ValueError, match='x must hold plain numbers'):
      journal.append({'x': np.array([None])})
    assert journal.append(make_row(0)) == 0


def test_the_tail_follows_the_writer(tmp_path):
  with Journal(tmp_path) as journal:
    journal.begin()
    journal.append(make_row(0))
    assert read_indices(tmp_path) == []
    assert read_indices(tmp_path, closed_only=False) == [0]
    journal.append(make_row(1))
    assert read_indices(tmp_path, closed_only=False, after=0) == [1]
    assert next(tail(tmp_path, closed_only=False)).end is None
    journal.end()
    assert read_indices(tmp_path) == [0, 1]
    assert read_indices(tmp_path, after=1) == []
    journal.begin()
    journal.end()  # a file without rows
    journal.begin()
    journal.append(make_row(2))
    journal.end()
    assert read_indices(tmp_path, after=1) == [2]
    assert read_indices(tmp_path, after=0) == [1, 2]


def test_a_file_may_close_while_it_is_read(tmp_path):
  with Journal(tmp_path) as journal:
    journal.begin()
    journal.append(make_row(0))
    following = tail(tmp_path, closed_only=False)
    listed = files(tmp_path)
    journal.end()
    assert not listed[0].closed
    assert [row.index for row in following] == [0]


def test_a_damaged_file_is_named_and_can_be_set_aside(tmp_path):
  write_journal(tmp_path)
  first, last = files(tmp_path)
  for entry, left in ((first, [3, 4, 5]), (last, [0, 1, 2])):
    data = entry.path.read_bytes()
    # In the second row: the first can be read.
    entry.path.write_bytes(data.replace(b'0.5', b'1.5'))
    with pytest.raises(JournalError, match=f'{entry.path.name} is damaged at'):
      read_indices(tmp_path)
    bad = entry.path.rename(entry.path.with_suffix('.bad'))
    assert read_indices(tmp_path) == left
    bad.rename(entry.path)
    entry.path.write_bytes(data)
  # A number that was given out is not given out again.
  last.path.rename(last.path.with_suffix('.bad'))
  write_journal(tmp_path, episodes=1)
  found = read_indices(tmp_path)
  assert found[:3] == [0, 1, 2] and min(found[3:]) > 5
  last.path.with_suffix('.bad').rename(last.path)
  assert len(read_indices(tmp_path)) == 9


def test_a_file_cut_after_it_was_closed_is_damaged(tmp_path):
  write_journal(tmp_path, episodes=1)
  (entry,) = files(tmp_path)
  entry.path.write_bytes(entry.path.read_bytes()[:-1])
  with pytest.raises(JournalError, match='is damaged at byte'):
    read_indices(tmp_path)
  with pytest.raises(JournalError, match='is damaged at byte'):
    Journal(tmp_path)


def test_a_journal_of_another_version_is_refused_and_kept(tmp_path):
  write_journal(tmp_path, episodes=1)
  (entry,) = files(tmp_path)
  data = b'RLTJRNL1' + entry.path.read_bytes()[8:]
  entry.path.write_bytes(data)
  with pytest.raises(JournalError, match='format RLTJRNL3: RLTJRNL1'):
    read_indices(tmp_path)
  # Also where its writer died: it must not pass for an empty file.
  entry.path.rename(entry.path.with_suffix('.open'))
  with pytest.raises(JournalError, match='format RLTJRNL3: RLTJRNL1'):
    Journal(tmp_path)
  assert entry.path.with_suffix('.open').read_bytes() == data


def test_two_journals_have_two_identities(tmp_path):
  assert identity.read(tmp_path / 'a') == ''
  for name in ('a', 'b', 'a'):
    write_journal(tmp_path / name)
  first, second = identity.read(tmp_path / 'a'), identity.read(tmp_path / 'b')
  assert first and second and first != second
  write_journal(tmp_path / 'a')
  assert identity.read(tmp_path / 'a') == first
