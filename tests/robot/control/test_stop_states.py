import itertools
import random

import pytest

from rlt_jax.robot.control import stop_states
from rlt_jax.robot.control.stop_states import (
  StopConfig,
  StopEvent,
  StopState,
  StopStatus,
)
from rlt_jax.robot.control.stop_states import (
  StopEventKind as Kind,
)

_CONFIG = StopConfig(max_failures=2, stow_timeout_s=5.0)


_RUN = StopStatus()
# Weighted so that many sequences reach DISABLE.
_LIKELY = [
  *Kind,
  *[Kind.DONE] * 6,
  *[Kind.DISABLE] * 2,
]


def _after(*events, status=_RUN, now=0.0):
  for event in events:
    if isinstance(event, Kind):
      event = StopEvent(
        event,
        'x' if event in (Kind.FAULT, Kind.FAILED) else '',
      )
    status = stop_states.advance(status, event, now, _CONFIG)
  return status


def test_disable_goes_through_hold_and_stow():
  status = StopStatus()
  seen = []
  for event in (
    Kind.DISABLE,
    Kind.DONE,
    Kind.WAIT,
    Kind.DONE,
    Kind.DONE,
  ):
    status = _after(event, status=status)
    seen.append((status.state, status.done))
  assert seen == [
    (StopState.HOLD, False),
    (StopState.STOW, False),
    (StopState.STOW, False),
    (StopState.DISABLE, False),
    (StopState.DISABLE, True),
  ]


def test_no_sequence_of_events_disables_before_stow_was_reached():
  rng = random.Random(0)
  disabled = 0
  for _ in range(500):
    status, stowed = StopStatus(), False
    for _ in range(25):
      before = status
      event = StopEvent(rng.choice(_LIKELY), 'x')
      status = stop_states.advance(status, event, rng.random() * 20, _CONFIG)
      if before.state is StopState.STOW and event.kind is Kind.DONE:
        stowed = stowed or not before.done
      if status.state in (StopState.RUN, StopState.HOLD):
        stowed = False
      if (
        status.state is StopState.DISABLE
        and before.state is not StopState.DISABLE
      ):
        assert before.state is StopState.STOW and stowed
        disabled += 1
      if status.state is StopState.RUN and before.state is not StopState.RUN:
        assert event.kind is Kind.RESUME and not before.latched
      if before.latched and not status.latched:
        assert event.kind is Kind.CLEAR
  assert disabled > 20


def test_no_event_runs_a_disabled_arm():
  off = _after(*[Kind.DISABLE] + [Kind.DONE] * 3)
  for events in itertools.product(Kind, repeat=2):
    status = _after(*events, status=off)
    assert status.state is StopState.DISABLE and status.done
  assert 'no power' in _after(Kind.RESUME, status=off).note


def test_a_software_stop_latches():
  status = _after(StopEvent(Kind.STOP, 'key'), Kind.DONE)
  assert (
    status.state is StopState.HOLD and status.latched and status.cause == 'key'
  )
  assert 'no substitute for the emergency button' in status.note
  refused = _after(Kind.RESUME, status=status)
  assert refused.state is StopState.HOLD and 'clear it first' in refused.note
  assert _after(Kind.CLEAR, status=status).state is StopState.HOLD
  assert _after(Kind.CLEAR, Kind.RESUME, status=status).state is StopState.RUN
  assert stop_states.describe(status) == 'hold, latched: key'


def test_a_stop_ends_a_stow_and_a_person_may_ask_again():
  stowing = _after(Kind.STOW, Kind.DONE)
  assert stowing.state is StopState.STOW
  status = _after(Kind.STOP, status=stowing)
  assert status.state is StopState.HOLD and not status.done
  assert status.goal is StopState.HOLD
  assert _after(Kind.DONE, Kind.STOW, status=status).state is StopState.STOW


def test_a_stop_does_not_hold_twice():
  held = _after(Kind.FAULT, Kind.DONE)
  assert _after(Kind.STOP, status=held).done


def test_a_fault_needs_a_person_but_does_not_latch():
  status = _after(StopEvent(Kind.FAULT, 'observe: no answer'), Kind.DONE)
  assert stop_states.describe(status) == 'hold: observe: no answer'
  assert _after(Kind.FAULT, status=status) == status
  assert _after(Kind.RESUME, status=status).state is StopState.RUN


def test_a_failing_hold_is_retried_without_end():
  status = _after(Kind.STOP, *[Kind.FAILED] * 9)
  assert (
    status.state is StopState.HOLD and not status.done and status.failures == 9
  )
  assert stop_states.describe(status).endswith('hold failed 9 times: x')
  assert 'in progress' in _after(Kind.CLEAR, Kind.RESUME, status=status).note


@pytest.mark.parametrize('state', [StopState.STOW, StopState.DISABLE])
def test_a_state_that_fails_is_tried_again_then_held(state):
  status = _after(
    StopEvent(Kind(state.value)),
    *[Kind.DONE] * (state is StopState.DISABLE),
  )
  status = _after(Kind.DONE, status=status)
  assert status.state is state
  status = _after(Kind.FAILED, status=status)
  assert status.state is state and status.failures == 1
  status = _after(Kind.FAILED, status=status)
  assert status.state is StopState.HOLD and not status.done
  assert status.cause == f'{state.value} failed 2 times: x'
  assert _after(Kind.DONE, status=status).state is StopState.HOLD


def test_a_stow_that_takes_too_long_is_held():
  status = _after(Kind.STOW, Kind.DONE)
  assert _after(Kind.WAIT, status=status, now=5.0) == status
  status = _after(Kind.WAIT, status=status, now=5.1)
  assert status.state is StopState.HOLD
  assert status.cause == 'stow must take at most 5.0 s: 5.1 s'


def test_after_a_stow_the_arm_may_run_again():
  status = _after(Kind.STOW, Kind.DONE, Kind.DONE)
  assert (status.state, status.done) == (StopState.STOW, True)
  assert _after(Kind.RESUME, status=status).state is StopState.RUN


_TIMED = StopConfig(stow_after_hold_s=10.0, disable_after_stow_s=60.0)


def _at(status, now, kind=Kind.TIME, config=_TIMED):
  return stop_states.advance(status, StopEvent(kind, 'x'), now, config)


def test_time_stows_and_then_disables_an_arm_that_nobody_resumes():
  status = _at(_at(_RUN, 0.0, Kind.FAULT), 1.0, Kind.DONE)
  assert _at(status, 10.9) == status
  status = _at(status, 11.0)
  assert (status.state, status.goal) == (StopState.STOW, StopState.STOW)
  assert status.cause == '10.0 s in hold, which began with: x'
  assert _at(status, 900.0) == status  # on its way, so no rest yet
  status = _at(status, 13.0, Kind.DONE)
  assert _at(status, 72.9) == status
  status = _at(status, 73.0)
  assert status.state is StopState.DISABLE and not status.done


def test_time_does_nothing_by_default():
  status = _after(Kind.FAULT, Kind.DONE)
  assert _after(Kind.TIME, status=status, now=1e6) == status


@pytest.mark.parametrize('kinds', [[Kind.STOP], [Kind.STOP, Kind.CLEAR]])
def test_time_never_moves_an_arm_that_the_operator_stopped(kinds):
  status = _after(*kinds, Kind.DONE)
  assert _at(status, 1e6) == status


def test_time_does_not_repeat_a_stow_that_failed():
  status = _at(_at(_RUN, 0.0, Kind.FAULT), 0.0, Kind.DONE)
  status = _at(status, 10.0)
  for _ in range(3):
    status = _at(status, 10.0, Kind.FAILED)
  status = _at(status, 10.0, Kind.DONE)
  assert status.state is StopState.HOLD and status.done
  assert _at(status, 1e6) == status


def test_an_arm_that_runs_forgets_the_stop():
  status = _after(Kind.STOP, Kind.DONE, Kind.CLEAR, Kind.RESUME, now=3.0)
  assert status == StopStatus(since=3.0)


@pytest.mark.parametrize('name', ['stow_after_hold_s', 'disable_after_stow_s'])
def test_times_must_be_positive_or_none(name):
  with pytest.raises(ValueError, match=f'{name} must be positive or None: 0'):
    StopConfig(**{name: 0.0})


def test_settings_must_be_positive():
  with pytest.raises(ValueError, match='max_failures must be positive: 0'):
    StopConfig(max_failures=0)
