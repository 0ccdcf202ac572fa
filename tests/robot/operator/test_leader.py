import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError, Reading
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.operator.leader import Leader
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.conftest import JOINTS, make_arm_spec


class _ReadOnlyArm:
  """Raises an AttributeError if anything but reading is asked of it."""

  def __init__(self, clock, **changes):
    self.spec, self._clock = make_arm_spec(**changes), clock
    self.log, self.age, self.fault = [], 0.0, ''

  def connect(self):
    self.log.append('connect')
    if self.fault:
      raise ArmError(self.fault)

  def observe(self):
    if self.fault:
      raise ArmError(self.fault)
    time = self._clock.now() - self.age
    return Reading(np.arange(4.0), np.zeros(4), time)

  def disconnect(self):
    self.log.append('disconnect')


@pytest.fixture
def arm():
  return _ReadOnlyArm(FakeClock())


def _leader(arm):
  return Leader(arm, make_arm_spec(), clock=arm._clock)


def test_the_leader_is_read_and_nothing_else(arm):
  leader = _leader(arm)
  leader.open()
  assert leader.pose() is None
  assert leader.poll() == []
  np.testing.assert_array_equal(leader.pose(), [0, 1, 2, 3])
  assert leader.delta(np.zeros(4), 0.02) is None
  leader.close()
  leader.close()
  assert leader.pose() is None
  assert arm.log == ['connect', 'disconnect']


def test_an_old_reading_is_no_pose(arm):
  leader = _leader(arm)
  leader.open()
  leader.poll()
  arm.age = 0.2
  leader.poll()
  assert leader.pose() is None


def test_a_leader_that_fails_is_lost_after_some_readings(arm):
  leader = _leader(arm)
  leader.open()
  leader.poll()
  arm.fault = 'no answer'
  for _ in range(2):
    assert leader.poll() == []
  with pytest.raises(DeviceError, match='3 readings in a row failed: no ans'):
    leader.poll()
  assert leader.pose() is None


def test_a_lost_packet_is_survived_with_the_reading_before_it(arm):
  leader = _leader(arm)
  leader.open()
  for _ in range(5):
    arm.fault = ''
    leader.poll()
    arm.fault = 'a packet was lost'
    arm._clock.time += 0.02
    leader.poll()
    np.testing.assert_array_equal(leader.pose(), [0, 1, 2, 3])
  arm._clock.time += 0.2  # older than a reading may be
  assert leader.pose() is None


def test_a_leader_that_cannot_be_reached_is_reported(arm):
  arm.fault = 'no such port'
  with pytest.raises(DeviceError, match='cannot be opened: no such port'):
    _leader(arm).open()
  with pytest.raises(DeviceError, match='must be opened'):
    _leader(arm).poll()


@pytest.mark.parametrize(
  'field, value',
  [('joint_names', JOINTS[::-1]), ('joint_units', ('rad',) * 4)],
)
def test_other_joints_are_refused(field, value):
  changes = {field: value, 'chains': ()}
  with pytest.raises(ValueError, match=f"{field} must be the follower's"):
    _leader(_ReadOnlyArm(FakeClock(), **changes))
