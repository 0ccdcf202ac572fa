import numpy as np
import pytest

from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.journal_reader import JournalError, parts, tail


def _row(i):
  return {'x': np.full(3, i, np.float32), 'i': np.int64(i)}


def _write(folder, *, episodes=2, rows=3, **arguments):
  with Journal(folder, **arguments) as journal:
    for episode in range(episodes):
      journal.begin({'episode': episode})
      for _ in range(rows):
        journal.append(_row(0), {'t': 0.5})
      journal.end({'outcome': 'success'})


def _indices(folder, **arguments):
  return [row.index for row in tail(folder, **arguments)]


def test_the_tail_follows_the_writer(tmp_path):
  with Journal(tmp_path) as journal:
    journal.begin()
    journal.append(_row(0))
    assert _indices(tmp_path) == []
    assert _indices(tmp_path, closed_only=False) == [0]
    journal.append(_row(1))
    assert _indices(tmp_path, closed_only=False, after=0) == [1]
    assert next(tail(tmp_path, closed_only=False)).end is None
    journal.end()
    assert _indices(tmp_path) == [0, 1]
    assert _indices(tmp_path, after=1) == []
    journal.begin()
    journal.end()  # a part without rows
    journal.begin()
    journal.append(_row(2))
    journal.end()
    assert _indices(tmp_path, after=1) == [2]
    assert _indices(tmp_path, after=0) == [1, 2]


def test_a_part_that_closes_while_it_is_read_is_read_on(tmp_path):
  with Journal(tmp_path) as journal:
    journal.begin()
    journal.append(_row(0))
    following = tail(tmp_path, closed_only=False)
    listed = parts(tmp_path)
    journal.end()
    assert not listed[0].closed
    assert [row.index for row in following] == [0]


def test_a_damaged_file_is_named_and_can_be_set_aside(tmp_path):
  _write(tmp_path)
  first, last = parts(tmp_path)
  for part, left in ((first, [3, 4, 5]), (last, [0, 1, 2])):
    data = part.path.read_bytes()
    # In the second row: the first can be read.
    part.path.write_bytes(data.replace(b'0.5', b'1.5'))
    with pytest.raises(JournalError, match=f'{part.path.name} is damaged at'):
      _indices(tmp_path)
    bad = part.path.rename(part.path.with_suffix('.bad'))
    assert _indices(tmp_path) == left
    bad.rename(part.path)
    part.path.write_bytes(data)
  # A number that was given out is not given out again.
  last.path.rename(last.path.with_suffix('.bad'))
  _write(tmp_path, episodes=1)
  found = _indices(tmp_path)
  assert found[:3] == [0, 1, 2] and min(found[3:]) > 5
  last.path.with_suffix('.bad').rename(last.path)
  assert len(_indices(tmp_path)) == 9


def test_a_file_cut_after_it_was_closed_is_damaged(tmp_path):
  _write(tmp_path, episodes=1)
  (part,) = parts(tmp_path)
  part.path.write_bytes(part.path.read_bytes()[:-1])
  with pytest.raises(JournalError, match='is damaged at byte'):
    _indices(tmp_path)
  with pytest.raises(JournalError, match='is damaged at byte'):
    Journal(tmp_path)
