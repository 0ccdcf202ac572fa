"""The contract with LeRobot, by a Robot object of our own."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.arms.lerobot import JointMap, LeRobotArm, LeRobotConfig

_ROWS = (
  JointMap(
    key='grip.pos', joint='grip', unit='percent', at_low=0.0, at_high=0.03
  ),
  JointMap(key='pan.pos', joint='a', unit='deg'),
  JointMap(
    key='lift.pos', joint='b', unit='normalized', at_low=1.0, at_high=-0.6
  ),
)


class FakeRobot:
  """What LeRobot's Robot promises; stops each joint at 40."""

  action_features = {'pan.pos': float, 'lift.pos': float, 'grip.pos': float}
  observation_features = action_features | {
    'pan.current': float, 'front': (48, 64, 3)
  }  # fmt: skip
  is_calibrated = True

  def __init__(self):
    self.numbers = {'pan.pos': 0.0, 'lift.pos': 25.0, 'grip.pos': 0.0}
    self.calls, self.error = [], None

  def connect(self, calibrate=True):
    self.calls.append(('connect', calibrate))

  def get_observation(self):
    if self.error:
      raise self.error
    return self.numbers | {'pan.current': 0.1, 'front': np.zeros((48, 64, 3))}

  def send_action(self, action):
    if self.error:
      raise self.error
    self.calls.append(('send_action', dict(action)))
    self.numbers = {key: min(value, 40.0) for key, value in action.items()}
    return dict(self.numbers)

  def disconnect(self):
    self.calls.append(('disconnect',))


@pytest.fixture
def robot():
  return FakeRobot()


def make(spec, robot, clock, table=_ROWS, off=True, unused=('pan.current',)):
  return LeRobotArm(
    spec,
    LeRobotConfig(table=table, off_at_disconnect=off, unused=unused),
    robot,
    clock=clock,
  )


def test_a_reading_is_in_the_units_and_order_of_the_spec(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  assert robot.calls == [('connect', False)]
  robot.numbers = {'pan.pos': 30.0, 'lift.pos': -100.0, 'grip.pos': 50.0}
  first = arm.observe()
  np.testing.assert_allclose(first.position, [math.pi / 6, 1.0, 0.015])
  np.testing.assert_array_equal(first.velocity, 0.0)
  assert first.time == clock.time
  clock.time += 0.02
  robot.numbers = {'pan.pos': 30.0, 'lift.pos': 100.0, 'grip.pos': 50.0}
  second = arm.observe()
  np.testing.assert_allclose(second.position[1], -0.6)
  np.testing.assert_allclose(second.velocity, [0, -80.0, 0], atol=1e-9)


def test_a_command_is_converted_and_the_sent_one_returned(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  sent = arm.command(np.array([math.pi / 4, 0.2, 0.003]))
  name, action = robot.calls[-1]
  assert name == 'send_action'
  assert action == pytest.approx(
    {'pan.pos': 45.0, 'lift.pos': 0.0, 'grip.pos': 10.0}, abs=1e-9
  )
  # The robot stopped the first joint at 40 degrees.
  np.testing.assert_allclose(sent, [math.radians(40.0), 0.2, 0.003])


def test_hold_sends_the_measured_pose(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  robot.numbers = {'pan.pos': 10.0, 'lift.pos': 20.0, 'grip.pos': 30.0}
  expected = dict(robot.numbers)
  arm.hold()
  assert robot.calls[-1][1] == pytest.approx(expected)


def test_a_bad_target_never_reaches_the_robot(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  with pytest.raises(ArmError, match='a must be within'):
    arm.command(np.array([math.nan, 0.0, 0.0]))
  assert robot.calls == [('connect', False)]


def test_the_robots_errors_are_passed_on(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  robot.error = OSError('no status packet')
  with pytest.raises(ArmError, match='get_observation.*no status packet'):
    arm.observe()
  with pytest.raises(ArmError, match='send_action.*no status packet'):
    arm.command(np.zeros(3))


def test_an_answer_that_lacks_a_joint_is_an_error(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  del robot.numbers['lift.pos']
  with pytest.raises(ArmError, match=r"missing: \['lift.pos'\]"):
    arm.observe()


def test_a_robot_that_would_fall_is_left_open_under_power(spec, robot, clock):
  arm = make(spec, robot, clock)
  arm.connect()
  arm.hold()
  arm.disconnect()
  arm.disconnect()
  assert ('disconnect',) not in robot.calls
  with pytest.raises(ArmError, match='connect'):
    arm.observe()
  arm.connect()  # without LeRobot's own, which would switch the power off
  arm.hold()
  assert robot.calls.count(('connect', False)) == 1
  arm.disable()
  arm.disconnect()
  assert robot.calls.count(('disconnect',)) == 1
  arm.connect()
  assert robot.calls.count(('connect', False)) == 2


def test_a_robot_that_closes_itself_is_kept_from_it(tmp_path):
  """The preflight of a robot with a destructor ends without it, and with 0."""
  code = """
import atexit, sys
from rlt_jax.robot.arms.lerobot import JointMap, LeRobotArm, LeRobotConfig
from tests.robot.arms.test_lerobot import FakeRobot, _ROWS
from tests.robot.fakes import ARM
import dataclasses
class Falls(FakeRobot):
  def __del__(self):
    print('power off', flush=True)
arm = LeRobotArm(
  dataclasses.replace(ARM), LeRobotConfig(
    table=_ROWS, off_at_disconnect=True, unused=('pan.current',)), Falls())
arm.connect()
if 'disable' in sys.argv:
  arm.disable()
arm.disconnect()
"""
  for argument, expected in (('', ''), ('disable', 'power off')):
    done = subprocess.run(
      [sys.executable, '-c', code, argument],
      capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == expected
    assert ('left open, under power' in done.stderr) == (not expected)


def test_a_robot_that_keeps_its_power_cannot_be_disabled(spec, robot, clock):
  arm = make(spec, robot, clock, off=False)
  arm.connect()
  with pytest.raises(ArmError, match='switch it off by hand'):
    arm.disable()
  arm.hold()
  arm.disconnect()
  assert robot.calls[-1] == ('disconnect',)


def test_an_uncalibrated_robot_is_refused_and_closed(spec, robot, clock):
  robot.is_calibrated = False
  with pytest.raises(ArmError, match='must be calibrated'):
    make(spec, robot, clock).connect()
  assert robot.calls[-1] == ('disconnect',)


def replaced(old, **changes):
  return tuple(
    dataclasses.replace(row, **changes) if row.key == old else row
    for row in _ROWS
  )


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'table': _ROWS[:2]}, r"table joints .* missing \['b'\], extra \[\]"),
    (
      {'table': replaced('pan.pos', key='yaw.pos')},
      r"action features .* missing \['yaw.pos'\], extra \['pan.pos'\]",
    ),
    ({'table': (*_ROWS, _ROWS[0])}, 'table joints must be'),
    ({'unused': ()}, r"observation features .* extra \['pan.current'\]"),
    (
      {'unused': ('pan.current', 'x')},
      r"observation features .* missing \['x'\]",
    ),
    (
      {'table': replaced('grip.pos', unit='deg', at_low=None, at_high=None)},
      'grip must be in rad',
    ),
  ],
)
def test_a_key_of_only_one_side_is_refused(
  spec, robot, clock, changes, message
):
  with pytest.raises(ValueError, match=message):
    make(spec, robot, clock, **changes)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'unit': 'turns'}, 'unit must be one of'),
    ({'unit': 'deg', 'at_low': 0.0}, 'must be absent'),
    ({'unit': 'normalized'}, 'must be two numbers'),
    ({'unit': 'percent', 'at_low': 1.0, 'at_high': 1.0}, 'must be two numbers'),
  ],
)
def test_a_bad_row_of_the_table_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    JointMap(**{'key': 'x.pos', 'joint': 'a'} | changes)
