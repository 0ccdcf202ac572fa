import pytest

from rlt_jax.robot.operator.events import ButtonMap, Event, Kind
from rlt_jax.robot.operator.pedal import PEDALS


def test_the_values_of_the_events_are_stable():
  assert [kind.value for kind in Kind] == [
    'takeover',
    'release',
    'enter_critical',
    'success',
    'failure',
    'abort',
    'rerecord',
    'stop',
    'clear',
    'stow',
    'disable',
  ]


def test_a_held_button_gives_an_event_at_each_edge():
  edges = [
    PEDALS.events('KEY_A', down, time=1.0, device='p') for down in (True, False)
  ]
  assert edges == [
    [Event(Kind.TAKEOVER, 1.0, 'p', held=True)],
    [Event(Kind.RELEASE, 1.0, 'p', held=True)],
  ]
  assert not PEDALS.events('KEY_B', False, time=1.0, device='p')
  assert not PEDALS.events('KEY_Z', True, time=1.0, device='p')


@pytest.mark.parametrize(
  'buttons, held',
  [
    (ButtonMap(down={0: Kind.TAKEOVER}, up={0: Kind.RELEASE}), True),
    (ButtonMap(down={0: Kind.RELEASE}, up={0: Kind.TAKEOVER}), True),
    (ButtonMap(down={0: Kind.TAKEOVER, 1: Kind.RELEASE}), False),
    (ButtonMap(down={0: Kind.TAKEOVER}, up={0: Kind.SUCCESS}), False),
  ],
)
def test_a_button_is_held_if_its_edges_take_over_and_give_back(buttons, held):
  for is_down in (True, False):
    for event in buttons.events(0, is_down, time=1.0, device='p'):
      assert event.held == held


@pytest.mark.parametrize(
  'down, message',
  [
    ({}, 'must name at least one button'),
    ({0: 'success'}, "one of .*: 0 gives 'success'"),
  ],
)
def test_a_bad_map_is_refused(down, message):
  with pytest.raises(ValueError, match=message):
    ButtonMap(down=down)
