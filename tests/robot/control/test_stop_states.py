import itertools
import random

import pytest

from rlt_jax.robot.control import stop_states
from rlt_jax.robot.control.stop_states import (
  Event,
  Kind,
  State,
  StopConfig,
  StopState,
)

_CONFIG = StopConfig(attempts=2, stow_timeout_s=5.0)


_RUN = State()
# So that many a sequence gets to the ladder's end.
_LIKELY = [*Kind, *[Kind.DONE] * 6, *[Kind.DISABLE] * 2]


def _after(*events, state=_RUN, now=0.0):
  for event in events:
    if isinstance(event, Kind):
      event = Event(event, 'x' if event in (Kind.FAULT, Kind.FAILED) else '')
    state = stop_states.advance(state, event, now, _CONFIG)
  return state


def test_disable_goes_by_hold_and_stow():
  state = State()
  seen = []
  for event in (Kind.DISABLE, Kind.DONE, Kind.WAIT, Kind.DONE, Kind.DONE):
    state = _after(event, state=state)
    seen.append((state.rung, state.done))
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
    state, stowed = State(), False
    for _ in range(25):
      before = state
      event = Event(rng.choice(_LIKELY), 'x')
      state = stop_states.advance(state, event, rng.random() * 20, _CONFIG)
      if before.rung is StopState.STOW and event.kind is Kind.DONE:
        stowed = stowed or not before.done
      if state.rung in (StopState.RUN, StopState.HOLD):
        stowed = False
      if (
        state.rung is StopState.DISABLE and before.rung is not StopState.DISABLE
      ):
        assert before.rung is StopState.STOW and stowed
        disabled += 1
      if state.rung is StopState.RUN and before.rung is not StopState.RUN:
        assert event.kind is Kind.RESUME and not before.latched
      if before.latched and not state.latched:
        assert event.kind is Kind.CLEAR
  assert disabled > 20


def test_no_event_runs_a_disabled_arm():
  off = _after(*[Kind.DISABLE] + [Kind.DONE] * 3)
  for events in itertools.product(Kind, repeat=2):
    state = _after(*events, state=off)
    assert state.rung is StopState.DISABLE and state.done
  assert 'no power' in _after(Kind.RESUME, state=off).note


def test_a_software_stop_latches():
  state = _after(Event(Kind.STOP, 'key'), Kind.DONE)
  assert state.rung is StopState.HOLD and state.latched and state.cause == 'key'
  assert 'no substitute for the emergency button' in state.note
  refused = _after(Kind.RESUME, state=state)
  assert refused.rung is StopState.HOLD and 'clear it first' in refused.note
  assert _after(Kind.CLEAR, state=state).rung is StopState.HOLD
  assert _after(Kind.CLEAR, Kind.RESUME, state=state).rung is StopState.RUN
  assert stop_states.words(state) == 'hold, latched: key'


def test_a_stop_ends_a_stow_and_a_person_may_ask_again():
  stowing = _after(Kind.STOW, Kind.DONE)
  assert stowing.rung is StopState.STOW
  state = _after(Kind.STOP, state=stowing)
  assert state.rung is StopState.HOLD and not state.done
  assert state.goal is StopState.HOLD
  assert _after(Kind.DONE, Kind.STOW, state=state).rung is StopState.STOW


def test_a_stop_does_not_hold_twice():
  held = _after(Kind.FAULT, Kind.DONE)
  assert _after(Kind.STOP, state=held).done


def test_a_fault_needs_a_person_but_does_not_latch():
  state = _after(Event(Kind.FAULT, 'observe: no answer'), Kind.DONE)
  assert stop_states.words(state) == 'hold: observe: no answer'
  assert _after(Kind.FAULT, state=state) == state
  assert _after(Kind.RESUME, state=state).rung is StopState.RUN


def test_hold_is_tried_for_ever():
  state = _after(Kind.STOP, *[Kind.FAILED] * 9)
  assert state.rung is StopState.HOLD and not state.done and state.failures == 9
  assert stop_states.words(state).endswith('hold failed 9 times: x')
  assert 'under way' in _after(Kind.CLEAR, Kind.RESUME, state=state).note


@pytest.mark.parametrize('rung', [StopState.STOW, StopState.DISABLE])
def test_a_rung_that_fails_is_tried_again_then_held(rung):
  state = _after(
    Event(Kind(rung.value)), *[Kind.DONE] * (rung is StopState.DISABLE)
  )
  state = _after(Kind.DONE, state=state)
  assert state.rung is rung
  state = _after(Kind.FAILED, state=state)
  assert state.rung is rung and state.failures == 1
  state = _after(Kind.FAILED, state=state)
  assert state.rung is StopState.HOLD and not state.done
  assert state.cause == f'{rung.value} failed 2 times: x'
  assert _after(Kind.DONE, state=state).rung is StopState.HOLD


def test_a_stow_that_takes_too_long_is_held():
  state = _after(Kind.STOW, Kind.DONE)
  assert _after(Kind.WAIT, state=state, now=5.0) == state
  state = _after(Kind.WAIT, state=state, now=5.1)
  assert state.rung is StopState.HOLD
  assert state.cause == 'stow must take at most 5.0 s: 5.1 s'


def test_after_a_stow_the_arm_may_run_again():
  state = _after(Kind.STOW, Kind.DONE, Kind.DONE)
  assert (state.rung, state.done) == (StopState.STOW, True)
  assert _after(Kind.RESUME, state=state).rung is StopState.RUN


def test_what_the_ladder_needs_must_be_positive():
  with pytest.raises(ValueError, match='attempts must be positive: 0'):
    StopConfig(attempts=0)
