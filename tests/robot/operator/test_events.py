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
    [Event(Kind.TAKEOVER, 1.0, 'p')],
    [Event(Kind.RELEASE, 1.0, 'p')],
  ]
  assert not PEDALS.events('KEY_B', False, time=1.0, device='p')
  assert not PEDALS.events('KEY_Z', True, time=1.0, device='p')


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
