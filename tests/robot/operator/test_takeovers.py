import pytest

from rlt_jax.robot.operator.events import Event, Kind
from rlt_jax.robot.operator.takeovers import Takeovers


def _event(kind, *, held=True, device='pedal'):
  return Event(kind, 0.0, device, held)


_DOWN, _UP = _event(Kind.TAKEOVER), _event(Kind.RELEASE)
_KEY_DOWN = _event(Kind.TAKEOVER, held=False, device='keys')
_KEY_UP = _event(Kind.RELEASE, held=False, device='keys')


def _hear(takeovers, *events, lost=()):
  takeovers.hear(events, lambda name: name in lost)


def test_what_is_held_is_held_from_one_episode_to_the_next():
  takeovers = Takeovers()
  assert not takeovers.begin()
  _hear(takeovers, _DOWN, _event(Kind.TAKEOVER, device='pad'))
  assert takeovers.begin() and takeovers.begin()
  _hear(takeovers, _UP)
  assert takeovers.begin()  # the other one is down
  _hear(takeovers, lost=['pad'])
  assert not takeovers.begin()


def test_a_toggle_in_an_episode_is_none_of_the_next_one():
  takeovers = Takeovers()
  _hear(takeovers, _KEY_DOWN)
  assert not takeovers.begin()


def test_a_toggle_between_episodes_takes_over_one():
  takeovers = Takeovers()
  assert not takeovers.hear_between(_KEY_DOWN, True)
  assert takeovers.begin() and not takeovers.begin()
  assert not takeovers.hear_between(_KEY_DOWN, False)
  assert takeovers.hear_between(_KEY_UP, False)
  assert not takeovers.begin()


@pytest.mark.parametrize('before', [True, False])
@pytest.mark.parametrize('stopped', [True, False])
def test_a_release_counts_if_it_was_pressed_after_the_stop(before, stopped):
  takeovers = Takeovers()
  takeovers.polled(before)
  assert not takeovers.hear_between(_DOWN, stopped)
  takeovers.polled(True)
  assert takeovers.hear_between(_UP, True) == (before and stopped)


@pytest.mark.parametrize('what', [Takeovers.begin, Takeovers.forget_presses])
def test_a_press_is_forgotten(what):
  takeovers = Takeovers()
  takeovers.polled(True)
  takeovers.hear_between(_DOWN, True)
  what(takeovers)
  assert not takeovers.hear_between(_UP, True)
