import pytest

from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.episode_operator import EpisodeOperator
from rlt_jax.robot.operator.events import DeviceError, Event, Kind
from rlt_jax.robot.operator.gamepad import BUTTONS, Gamepad
from rlt_jax.robot.operator.group import Group
from rlt_jax.robot.operator.leader import Leader
from rlt_jax.robot.operator.pedal import Pedal, PEDALS
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.operator.spacemouse import SpaceMouse, SpaceMouseConfig
from rlt_jax.robot.operator.terminal import Terminal
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.conftest import make_arm_spec

_MOUSE = SpaceMouseConfig(
  chain=0, linear_m_s=0.1, angular_rad_s=0.5, heading_rad=0.0
)


class _Device:
  def __init__(self, name, log, *, opens=True, closes=True, kinds=None):
    self.name, self._log, self._opens, self._closes = name, log, opens, closes
    self.lost = False
    if kinds is not None:
      self.kinds = kinds

  def open(self):
    if not self._opens:
      raise DeviceError('no such device')
    self._log.append(f'open {self.name}')

  def poll(self):
    if self.lost:
      raise DeviceError('pulled out')
    return []

  def close(self):
    self._log.append(f'close {self.name}')
    if not self._closes:
      raise DeviceError('stuck')


def test_events_of_all_devices_come_in_order_of_time():
  clock = FakeClock()
  devices = [
    Scripted([(0.2, Kind.SUCCESS)], name='a', clock=clock),
    Scripted([(0.1, Kind.ENTER_CRITICAL)], name='b', clock=clock),
  ]
  with Group(devices, clock=clock) as group:
    clock.time += 1.0
    assert [event.device for event in group.poll()] == ['b', 'a']


def test_a_lost_device_stops_once_and_the_others_go_on():
  log, clock = [], FakeClock()
  device = _Device('pedal', log)
  script = Scripted([(0.0, Kind.ABORT), (1.0, Kind.STOP)], clock=clock)
  with Group([device, script], clock=clock) as group:
    device.lost = True
    assert Event(Kind.STOP, clock.time, 'pedal') in group.poll()
    clock.time += 1.0
    assert [event.device for event in group.poll()] == ['scripted']
    assert group.faults == ['pedal: pulled out']


def test_the_others_are_closed_when_a_device_does_not_open():
  log = []
  with pytest.raises(DeviceError, match='no such device'):
    Group([_Device('a', log), _Device('b', log, opens=False)]).open()
  assert log == ['open a', 'close a']


def test_the_others_are_closed_when_a_device_does_not_close():
  log = []
  group = Group([_Device('a', log), _Device('b', log, closes=False)])
  group.open()
  with pytest.raises(DeviceError, match='stuck'):
    group.close()
  assert log[-2:] == ['close b', 'close a']


@pytest.mark.parametrize('names', [[], ['a', 'a']])
def test_names_must_be_distinct(names):
  with pytest.raises(ValueError, match='devices must have distinct names'):
    Group([_Device(name, []) for name in names])


def test_a_group_that_is_lost_whole_says_so():
  log, clock = [], FakeClock()
  devices = [_Device('pedal', log), _Device('keys', log)]
  with Group(devices, clock=clock) as group:
    devices[0].lost = True
    assert [event.kind for event in group.poll()] == [Kind.STOP]
    devices[1].lost = True
    with pytest.raises(DeviceError, match='pedal: pulled out; keys: pulled'):
      group.poll()


@pytest.mark.parametrize(
  'rest, ends',
  [
    ([frozenset()], True),  # a leader
    ([frozenset(), PEDALS.kinds], True),
    ([frozenset(), BUTTONS.kinds], False),
    ([frozenset(), None], False),  # it does not say
  ],
)
def test_a_group_in_which_nobody_could_clear_the_stop_is_lost(rest, ends):
  keys = _Device('keys', [], kinds={Kind.CLEAR})
  others = [_Device(f'{i}', [], kinds=x) for i, x in enumerate(rest)]
  with Group([keys, *others], clock=FakeClock()) as group:
    assert group.poll() == []
    keys.lost = True
    if ends:
      with pytest.raises(DeviceError, match='keys: pulled out'):
        group.poll()
    else:
      assert [event.kind for event in group.poll()] == [Kind.STOP]
      assert group.poll() == []


def test_devices_say_what_they_can_give():
  arm = FakeArm(make_arm_spec(), clock=FakeClock())
  devices = {
    Terminal(): set(Kind),
    Pedal('/dev/input/pedal'): {
      Kind.TAKEOVER,
      Kind.RELEASE,
      Kind.ENTER_CRITICAL,
      Kind.SUCCESS,
    },
    Gamepad(): set(Kind) - {Kind.DISABLE},
    SpaceMouse(make_arm_spec(), _MOUSE): {Kind.TAKEOVER, Kind.RELEASE},
    Leader(arm, make_arm_spec()): set(),
  }
  assert {x.name: x.kinds for x in devices} == {
    x.name: kinds for x, kinds in devices.items()
  }


def test_the_cause_of_a_stop_is_the_device_that_was_lost():
  clock = FakeClock()
  pedal, keys = _Device('pedal', []), Scripted([(1.0, Kind.STOP)], clock=clock)
  with Group([pedal, keys], clock=clock) as group:
    operator = EpisodeOperator(group, None, clock=clock, period_s=0.02)
    pedal.lost = True
    (event,) = operator.poll_stopped()
    assert event.cause == 'pedal: pulled out'
    clock.time += 1.0
    (event,) = operator.poll_stopped()
    assert event.cause == 'the operator stopped the arm'
