import threading

import numpy as np
import pytest

from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer

_DT = 0.02


def _chunk(start=0.0, num=10):
  """Entries that say their step: start, start + 1, ..."""
  return np.stack([start + np.arange(num), np.zeros(num)], axis=1)


def _steps(queue, times):
  return [queue.next(t).command[0] for t in times]


@pytest.fixture
def queue():
  return ActionChunkBuffer(2, _DT)


def test_before_the_first_chunk_there_is_nothing(queue):
  assert queue.next(0.0) is None
  assert queue.record()['starved'] == 0


@pytest.mark.parametrize('delay, first', [(0.0, 0), (0.06, 3), (0.071, 4)])
def test_a_chunk_begins_at_the_step_whose_time_it_is(queue, delay, first):
  queue.put(_chunk(), made=5.0)
  times = 5.0 + delay + _DT * np.arange(3)
  assert _steps(queue, times) == [first, first + 1, first + 2]
  assert queue.record()['delay_worst_s'] == pytest.approx(delay)


def test_late_ticks_use_each_step_once(queue):
  # Half a period off the grid, where rounding to it would stumble.
  queue.put(_chunk(), made=5.0)
  rng = np.random.default_rng(0)
  jitter = np.r_[0.0, rng.uniform(-0.004, 0.004, 9)]
  times = 5.0101 + _DT * np.arange(10) + jitter
  assert _steps(queue, times)[:9] == list(range(1, 10))


def test_a_missed_tick_leaves_its_step_out(queue):
  queue.put(_chunk(), made=0.0)
  assert _steps(queue, [0.0, 0.02, 0.08]) == [0, 1, 4]


def test_dry_it_holds_its_last_command_and_counts(queue):
  queue.put(_chunk(num=2), made=0.0)
  planned = [queue.next(t) for t in (0.0, 0.02, 0.04, 0.06)]
  assert [p.command[0] for p in planned] == [0, 1, 1, 1]
  assert [p.starved for p in planned] == [False, False, True, True]
  assert planned[-1].age_s == pytest.approx(0.06) and planned[-1].made == 0.0
  assert queue.record()['starved'] == 2


def test_the_seam_is_as_small_as_the_chunks_agree(queue):
  # Two chunks of one motion: at the measured delay there is no seam but the
  # motion's own step; from its first step the second would jump back by 4.
  queue.put(_chunk(), made=0.0)
  _steps(queue, [0.0, 0.02, 0.04, 0.06, 0.08])
  queue.put(_chunk(start=1.25), made=0.02)
  assert _steps(queue, [0.1]) == [1.25 + 4]
  assert queue.record()['seam_worst'] == [1.25, 0.0]
  assert queue.record()['chunks'] == 2


def test_a_chunk_whose_time_is_over_never_begins(queue):
  queue.put(_chunk(), made=0.0)
  assert _steps(queue, [0.0]) == [0]
  queue.put(_chunk(start=50.0, num=2), made=0.01)
  assert _steps(queue, [0.06]) == [3]
  assert queue.record()['late'] == 1


def test_a_chunk_older_than_the_one_in_use_is_dropped(queue):
  queue.put(_chunk(), made=1.0)
  queue.put(_chunk(start=50.0), made=0.9)
  assert _steps(queue, [1.0]) == [0]
  queue.put(_chunk(start=50.0), made=0.9)
  assert _steps(queue, [1.02]) == [1]
  assert queue.record()['stale'] == 2


def test_the_clock_may_go_back_the_chunk_does_not(queue):
  queue.put(_chunk(), made=0.0)
  assert _steps(queue, [0.0, 0.06, 0.02, 0.08]) == [0, 3, 3, 4]


def test_clear_forgets_the_plan_and_reset_the_counts(queue):
  queue.put(_chunk(num=1), made=0.0)
  _steps(queue, [0.0, 0.02])
  queue.put(_chunk(), made=0.04)
  queue.clear()
  assert queue.next(0.06) is None and queue.record()['starved'] == 1
  queue.put(_chunk(start=9.0), made=0.08)
  assert _steps(queue, [0.08]) == [9] and queue.record()['seam_worst'][0] == 0
  queue.reset()
  assert queue.record() == {
    'chunks': 0, 'starved': 0, 'stale': 0, 'late': 0, 'delay_p50_s': None,
    'delay_worst_s': None, 'seam_worst': [0.0, 0.0],
  }  # fmt: skip


def test_what_comes_out_is_not_the_queues_own(queue):
  chunk = _chunk()
  queue.put(chunk, made=0.0)
  chunk[:] = 7.0
  queue.next(0.0).command[:] = 8.0
  assert queue.next(0.0).command[0] == 0.0


@pytest.mark.parametrize(
  'chunk, made, message',
  [
    (np.zeros((0, 2)), 0.0, r'shape \(C, 2\): \(0, 2\)'),
    (np.zeros((3, 4)), 0.0, r'shape \(C, 2\): \(3, 4\)'),
    (np.zeros(2), 0.0, r'shape \(C, 2\): \(2,\)'),
    (np.zeros((3, 2)), np.nan, 'made must be finite: nan'),
  ],
)
def test_what_is_no_chunk_is_refused(queue, chunk, made, message):
  with pytest.raises(ValueError, match=message):
    queue.put(chunk, made)


def test_numbers_that_are_not_finite_are_the_safety_limitss_to_answer(queue):
  queue.put(_chunk(), made=0.0)
  queue.next(0.0)
  queue.put(np.full((3, 2), np.nan), made=0.02)
  assert np.isnan(queue.next(0.02).command).all()
  assert queue.record()['seam_worst'] == [0.0, 0.0]


def test_one_thread_may_put_while_another_takes(queue):
  def put():
    for i in range(200):
      queue.put(np.full((5, 2), float(i)), made=i * _DT)

  thread = threading.Thread(target=put)
  thread.start()
  for i in range(200):
    planned = queue.next(i * _DT)
    assert planned is None or planned.command[0] == planned.command[1]
  thread.join()
  assert queue.next(199 * _DT).command[0] == 199.0
