import time

from rlt_jax.robot.clock import MonotonicClock


def test_it_sleeps_until_the_deadline_and_not_less():
  clock = MonotonicClock()
  deadline = clock.now() + 0.01
  clock.sleep_until(deadline)
  assert clock.now() >= deadline


def test_a_deadline_that_has_passed_is_no_sleep(monkeypatch):
  monkeypatch.setattr(time, 'sleep', lambda s: 1 / 0)
  clock = MonotonicClock()
  clock.sleep_until(clock.now() - 1.0)
