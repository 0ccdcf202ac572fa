import numpy as np
import pytest

from rlt_jax.robot.operator.events import DeviceError, Event, Kind
from rlt_jax.robot.operator.scripted import (
  Scripted,
  ScriptedTeleoperator,
  StateOperator,
)
from tests.robot.fake_clock import FakeClock


def test_each_event_comes_once_with_its_own_time():
  clock = FakeClock(10.0)
  device = Scripted(
    [(0.0, Kind.TAKEOVER), (0.5, Kind.RELEASE), (0.5, Kind.SUCCESS)],
    clock=clock,
  )
  device.open()
  assert device.poll() == [Event(Kind.TAKEOVER, 10.0, 'scripted')]
  clock.time = 10.49
  assert device.poll() == []
  clock.time = 13.0
  assert device.poll() == [
    Event(Kind.RELEASE, 10.5, 'scripted'),
    Event(Kind.SUCCESS, 10.5, 'scripted'),
  ]
  assert device.poll() == []
  device.open()
  assert device.poll() == [Event(Kind.TAKEOVER, 13.0, 'scripted')]


def test_a_script_must_be_opened_before_it_is_polled():
  device = Scripted([])
  with pytest.raises(DeviceError, match='must be opened'):
    device.poll()


@pytest.mark.parametrize('times', [(-1.0,), (2.0, 1.0), (float('nan'),)])
def test_times_must_be_in_order(times):
  with pytest.raises(ValueError, match='in order of time'):
    Scripted([(at, Kind.STOP) for at in times])


def test_a_function_of_the_state_gives_the_events():
  clock, state = FakeClock(), {'depth': 0.0}
  device = StateOperator(
    lambda s: [Kind.SUCCESS] if s['depth'] > 0.01 else [],
    lambda: state,
    clock=clock,
  )
  device.open()
  assert device.poll() == []
  state['depth'] = 0.02
  assert device.poll() == [Event(Kind.SUCCESS, clock.time, 'scripted')]


def test_a_scripted_teleoperator_gives_a_pose_or_a_delta():
  clock = FakeClock()
  absolute = ScriptedTeleoperator([], pose=lambda t: np.full(2, t), clock=clock)
  relative = ScriptedTeleoperator(
    [], delta=lambda t, pose, period: pose * period, clock=clock
  )
  absolute.open()
  relative.open()
  clock.time += 2.0
  np.testing.assert_array_equal(absolute.pose(), [2.0, 2.0])
  assert absolute.delta(np.ones(2), 0.02) is None
  assert relative.pose() is None
  np.testing.assert_allclose(relative.delta(np.ones(2), 0.02), [0.02, 0.02])
  with pytest.raises(ValueError, match='either a pose or a delta'):
    ScriptedTeleoperator([])
