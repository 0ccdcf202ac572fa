import threading

import numpy as np
import pytest

from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer

_DT = 0.02


def _chunk(start=0.0, num=10):
  """Entries that say their step: start, start + 1, ..."""
  return np.stack([start + np.arange(num), np.zeros(num)], axis=1)


def _steps(buffer, times):
  return [buffer.next(t).command[0] for t in times]


@pytest.fixture
def buffer():
  return ActionChunkBuffer(2, _DT)


def test_before_the_first_chunk_there_is_nothing(buffer):
  assert buffer.next(0.0) is None
  assert buffer.statistics()['starved'] == 0


@pytest.mark.parametrize('delay, first', [(0.0, 0), (0.06, 3), (0.071, 4)])
def test_a_chunk_starts_at_the_step_that_is_meant_for_now(buffer, delay, first):
  buffer.put(_chunk(), obs_time=5.0)
  times = 5.0 + delay + _DT * np.arange(3)
  assert _steps(buffer, times) == [first, first + 1, first + 2]
  assert buffer.statistics()['delay_worst_s'] == pytest.approx(delay)


def test_late_loop_steps_use_each_step_once(buffer):
  # Half a period off the grid, where rounding to it would stumble.
  buffer.put(_chunk(), obs_time=5.0)
  rng = np.random.default_rng(0)
  jitter = np.r_[0.0, rng.uniform(-0.004, 0.004, 9)]
  times = 5.0101 + _DT * np.arange(10) + jitter
  assert _steps(buffer, times)[:9] == list(range(1, 10))


def test_a_missed_loop_step_skips_its_step(buffer):
  buffer.put(_chunk(), obs_time=0.0)
  assert _steps(buffer, [0.0, 0.02, 0.08]) == [0, 1, 4]


def test_an_empty_buffer_repeats_the_last_command_and_counts(buffer):
  buffer.put(_chunk(num=2), obs_time=0.0)
  planned = [buffer.next(t) for t in (0.0, 0.02, 0.04, 0.06)]
  assert [p.command[0] for p in planned] == [0, 1, 1, 1]
  assert [p.starved for p in planned] == [False, False, True, True]
  assert (
    planned[-1].age_s == pytest.approx(0.06) and planned[-1].obs_time == 0.0
  )
  assert buffer.statistics()['starved'] == 2


def test_the_seam_is_the_difference_between_two_chunks(buffer):
  # Two chunks of one motion: at the measured delay there is no seam but the
  # motion's own step; from its first step the second would jump back by 4.
  buffer.put(_chunk(), obs_time=0.0)
  _steps(buffer, [0.0, 0.02, 0.04, 0.06, 0.08])
  buffer.put(_chunk(start=1.25), obs_time=0.02)
  assert _steps(buffer, [0.1]) == [1.25 + 4]
  assert buffer.statistics()['seam_worst'] == [1.25, 0.0]
  assert buffer.statistics()['chunks'] == 2


def test_a_chunk_that_is_over_never_starts(buffer):
  buffer.put(_chunk(), obs_time=0.0)
  assert _steps(buffer, [0.0]) == [0]
  buffer.put(_chunk(start=50.0, num=2), obs_time=0.01)
  assert _steps(buffer, [0.06]) == [3]
  assert buffer.statistics()['late'] == 1


def test_a_chunk_older_than_the_one_in_use_is_dropped(buffer):
  buffer.put(_chunk(), obs_time=1.0)
  buffer.put(_chunk(start=50.0), obs_time=0.9)
  assert _steps(buffer, [1.0]) == [0]
  buffer.put(_chunk(start=50.0), obs_time=0.9)
  assert _steps(buffer, [1.02]) == [1]
  assert buffer.statistics()['stale'] == 2


def test_a_chunk_does_not_go_back_with_the_clock(buffer):
  buffer.put(_chunk(), obs_time=0.0)
  assert _steps(buffer, [0.0, 0.06, 0.02, 0.08]) == [0, 3, 3, 4]


def test_clear_drops_the_chunks_and_reset_the_counts_too(buffer):
  buffer.put(_chunk(num=1), obs_time=0.0)
  _steps(buffer, [0.0, 0.02])
  buffer.put(_chunk(), obs_time=0.04)
  buffer.clear()
  assert buffer.next(0.06) is None and buffer.statistics()['starved'] == 1
  buffer.put(_chunk(start=9.0), obs_time=0.08)
  assert (
    _steps(buffer, [0.08]) == [9] and buffer.statistics()['seam_worst'][0] == 0
  )
  buffer.reset()
  assert buffer.statistics() == {
    'chunks': 0, 'starved': 0, 'stale': 0, 'late': 0, 'delay_p50_s': None,
    'delay_worst_s': None, 'seam_worst': [0.0, 0.0],
  }  # fmt: skip


def test_a_returned_command_is_a_copy(buffer):
  chunk = _chunk()
  buffer.put(chunk, obs_time=0.0)
  chunk[:] = 7.0
  buffer.next(0.0).command[:] = 8.0
  assert buffer.next(0.0).command[0] == 0.0


@pytest.mark.parametrize(
  'chunk, obs_time, message',
  [
    (np.zeros((0, 2)), 0.0, r'shape \(C, 2\): \(0, 2\)'),
    (np.zeros((3, 4)), 0.0, r'shape \(C, 2\): \(3, 4\)'),
    (np.zeros(2), 0.0, r'shape \(C, 2\): \(2,\)'),
    (np.zeros((3, 2)), np.nan, 'obs_time must be finite: nan'),
  ],
)
def test_a_bad_chunk_is_refused(buffer, chunk, obs_time, message):
  with pytest.raises(ValueError, match=message):
    buffer.put(chunk, obs_time)


def test_numbers_that_are_not_finite_are_left_to_the_safety_limits(buffer):
  buffer.put(_chunk(), obs_time=0.0)
  buffer.next(0.0)
  buffer.put(np.full((3, 2), np.nan), obs_time=0.02)
  assert np.isnan(buffer.next(0.02).command).all()
  assert buffer.statistics()['seam_worst'] == [0.0, 0.0]


def test_two_threads_may_put_and_read(buffer):
  def put():
    for i in range(200):
      buffer.put(np.full((5, 2), float(i)), obs_time=i * _DT)

  thread = threading.Thread(target=put)
  thread.start()
  for i in range(200):
    planned = buffer.next(i * _DT)
    assert planned is None or planned.command[0] == planned.command[1]
  thread.join()
  assert buffer.next(199 * _DT).command[0] == 199.0
