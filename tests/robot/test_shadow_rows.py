"""Steps of a shadow run are on the disk as they come, and read again."""

import errno
import os

import numpy as np
import pytest

from rlt_jax.robot import shadow_rows
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.telemetry import blank_step
from rlt_jax.robot.shadow_rows import ShadowRow, ShadowRows


def _row(time, **changes):
  step = blank_step(time, 0.0, 2)._replace(**changes)
  return ShadowRow.of(step, np.array([0.1, np.nan]))


_SENT = {
  'source': CommandSource.ACTOR,
  'wanted': np.array([1 / 3, -2.0]),
  'measured': np.array([0.25, 1e-9]),
  'changed': np.array([0, 2], np.uint8),
}


def test_each_row_is_on_the_disk_at_once(tmp_path):
  rows = ShadowRows(tmp_path)
  rows.add(_row(1.5, verdict='no "chunk": at 3 s'))
  rows.add(_row(1.52, **_SENT))
  first, second = ShadowRows(tmp_path).rows  # as after a kill
  assert first.verdict == 'no "chunk": at 3 s' and not first.limited
  assert np.isnan(first.wanted).all() and first.source == 'none'
  assert (second.time, second.source, second.limited) == (1.52, 'actor', True)
  np.testing.assert_allclose(second.wanted, [1 / 3, -2.0], atol=1e-7)
  np.testing.assert_allclose(second.measured, [0.25, 0.0], atol=1e-7)
  np.testing.assert_array_equal(second.asked, [0.1, np.nan])


def test_an_incomplete_row_is_cut_off(tmp_path):
  path = tmp_path / shadow_rows.FILE
  ShadowRows(tmp_path).add(_row(1.0))
  whole = path.read_bytes()
  path.write_bytes(whole + whole[:20])
  rows = ShadowRows(tmp_path)
  assert len(rows.rows) == 1
  rows.add(_row(2.0))
  assert [x.time for x in ShadowRows(tmp_path).rows] == [1.0, 2.0]


@pytest.mark.parametrize('line', ['{}', '7', 'x', '{"time": 1, "wanted": []}'])
def test_a_damaged_line_is_named(tmp_path, line):
  ShadowRows(tmp_path).add(_row(1.0))
  with (tmp_path / shadow_rows.FILE).open('a') as file:
    file.write(line + '\n')
  with pytest.raises(ValueError, match='a row of a shadow run in line 2'):
    ShadowRows(tmp_path)


def test_rows_wait_for_a_disk_that_is_full(tmp_path, monkeypatch):
  room, write = [0], os.write

  def write_some(fd, data):
    """Writes as much as there is room for, as a disk does."""
    if not room[0]:
      raise OSError(errno.ENOSPC, 'No space left on device')
    written = write(fd, data[: room[0]])
    room[0] -= written
    return written

  rows = ShadowRows(tmp_path)
  monkeypatch.setattr(os, 'write', write_some)
  for time, room[0] in [(1.0, 0), (2.0, 30), (3.0, 0), (4.0, 10_000)]:
    rows.add(_row(time))
    assert rows.rows[-1].time == time
  assert [x.time for x in ShadowRows(tmp_path).rows] == [1.0, 2.0, 3.0, 4.0]
