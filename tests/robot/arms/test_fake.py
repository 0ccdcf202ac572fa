import dataclasses
import math

import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.faults import Fault
from rlt_jax.robot.control import workspace
from tests.robot.fake_arm import CHAIN, make_arm_spec

_TARGET = np.array([0.2, -0.1, 0.01])
_START = (0.0, 0.0, 0.0)


def make(spec, clock, *faults, **changes):
  arm = FakeArm(spec, clock=clock, faults=faults, start=_START, **changes)
  arm.connect()
  return arm


def test_joints_follow_to_first_order(spec, clock):
  arm = make(spec, clock, tau_s=0.1)
  np.testing.assert_array_equal(arm.command(_TARGET), _TARGET)
  clock.time += 0.1
  reading = arm.observe()
  left = math.exp(-1.0)
  np.testing.assert_allclose(reading.position, _TARGET * (1 - left))
  np.testing.assert_allclose(reading.velocity, _TARGET * left / 0.1)
  assert reading.time == clock.time


def test_two_runs_are_the_same(spec, clock):
  def run():
    clock.time = 0.0
    arm = make(spec, clock, Fault(kind='nan', at_s=0.1, calls=2))
    seen = []
    for _ in range(20):
      clock.time += 0.02
      seen.append(arm.observe())
      arm.command(_TARGET)
    return seen

  for one, other in zip(run(), run(), strict=True):
    np.testing.assert_equal(one, other)


def test_lost_packets_are_counted(spec, clock):
  arm = make(spec, clock, Fault(kind='lost', at_s=0.5, calls=2))
  arm.observe()
  clock.time += 0.5
  with pytest.raises(ArmError, match='packet of 0.500 s was lost'):
    arm.command(_TARGET)
  with pytest.raises(ArmError, match='lost'):
    arm.observe()
  np.testing.assert_array_equal(arm.observe().position, _START)


def test_a_stall_passes_the_time_once(spec, clock):
  arm = make(spec, clock, Fault(kind='stall', at_s=0.0, seconds=0.3))
  before = clock.time
  arm.observe()
  assert clock.time == before + 0.3
  arm.observe()
  assert clock.time == before + 0.3


def test_a_frozen_reading_keeps_its_time(spec, clock):
  arm = make(spec, clock, Fault(kind='frozen', at_s=0.1, seconds=0.2))
  arm.command(_TARGET)
  clock.time += 0.05
  good = arm.observe()
  clock.time += 0.1
  np.testing.assert_equal(arm.observe(), good)
  clock.time += 0.2
  after = arm.observe()
  assert after.time == clock.time
  assert after.position[0] > good.position[0]


def test_nan_readings_end(spec, clock):
  arm = make(spec, clock, Fault(kind='nan', at_s=0.0, calls=1))
  assert np.isnan(arm.observe().position).all()
  assert np.isfinite(arm.observe().position).all()


@pytest.mark.parametrize('seconds', [5.0, -5.0])
def test_the_readings_clock_jumps_and_stays(spec, clock, seconds):
  arm = make(spec, clock, Fault(kind='clock_jump', at_s=0.125, seconds=seconds))
  assert arm.observe().time == clock.time
  clock.time += 0.125
  assert arm.observe().time == clock.time + seconds


def test_a_clock_that_jumps_back_moves_no_joint(spec, clock):
  arm = make(spec, clock)
  arm.command(_TARGET)
  clock.time += 0.05
  before = arm.observe().position
  clock.time -= 3.0
  np.testing.assert_array_equal(arm.observe().position, before)


def test_hold_keeps_the_place_of_the_first_call(spec, clock):
  arm = make(spec, clock)
  arm.command(_TARGET)
  clock.time += 0.05
  place = arm.observe().position
  for _ in range(3):
    arm.hold()
    clock.time += 0.1
  np.testing.assert_allclose(arm.observe().position, place)
  assert [name for _, name in arm.events] == ['connect', 'command', 'hold']


def test_hold_without_a_reading_stays_at_the_last_command(spec, clock):
  arm = make(spec, clock, Fault(kind='nan', at_s=0.01, calls=1))
  arm.command(_TARGET)
  clock.time += 0.02
  arm.hold()
  clock.time += 5.0
  np.testing.assert_allclose(arm.observe().position, _TARGET)


def test_stow_is_slow_and_reports_when_it_is_there(spec, clock):
  arm = make(spec, clock)
  ticks, last = 0, arm.observe().position
  while not arm.stow():
    clock.time += 0.02
    position = arm.observe().position
    assert (
      np.abs(position - last) <= 0.02 * np.array([0.26] * 2 + [0.03])
    ).all()
    last, ticks = position, ticks + 1
  # 0.5 rad at a quarter of 1 rad/s.
  assert 100 <= ticks <= 104
  np.testing.assert_allclose(last, spec.stow, atol=0.02)


def test_stowing_goes_on_slowly_after_a_pause(spec, clock):
  arm = make(spec, clock, tau_s=1e-3)
  arm.stow()
  clock.time += 60.0
  arm.stow()
  clock.time += 0.02
  assert arm.observe().position[0] <= 0.25 * 0.05 + 1e-9


def test_only_connect_switches_the_power_on_after_disable(spec, clock):
  arm = make(spec, clock)
  arm.disable()
  for call in (lambda: arm.command(_TARGET), arm.hold, arm.stow):
    with pytest.raises(ArmError, match='must come before disable'):
      call()
  arm.observe()
  arm.disconnect()
  arm.connect()
  arm.command(_TARGET)


def test_nothing_before_connect_and_no_second_connect(spec, clock):
  arm = FakeArm(spec, clock=clock)
  with pytest.raises(ArmError, match=r'connect\(\) must come before observe'):
    arm.observe()
  arm.disconnect()
  arm.connect()
  with pytest.raises(ArmError, match='must come once'):
    arm.connect()


@pytest.mark.parametrize(
  'target, message',
  [
    ([0.0, math.nan, 0.0], 'b must be within -1.0 and 1.0 rad: nan'),
    ([0.0, math.inf, 0.0], 'b must be within'),
    ([0.0, 0.0, 0.031], 'grip must be within 0.0 and 0.03 m: 0.031'),
    ([0.0, 0.0], r'shape \(3,\): \(2,\)'),
  ],
)
def test_a_bad_target_is_refused_and_moves_nothing(
  spec, clock, target, message
):
  arm = make(spec, clock)
  with pytest.raises(ArmError, match=message):
    arm.command(np.array(target))
  clock.time += 1.0
  np.testing.assert_array_equal(arm.observe().position, _START)


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'kind': 'fire', 'at_s': 0.0}, 'kind must be one of'),
    ({'kind': 'lost', 'at_s': 0.0}, 'calls must be positive'),
    ({'kind': 'stall', 'at_s': 0.0}, 'seconds must be set'),
    ({'kind': 'nan', 'at_s': -1.0, 'calls': 1}, 'at_s must not be negative'),
    ({'kind': 'stall', 'at_s': 0.0, 'seconds': -1.0}, 'must not be negative'),
  ],
)
def test_a_bad_fault_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    Fault(**fields)


@pytest.mark.parametrize('place', [1.9, -2.2, 1.05, 0.4])
def test_hold_never_jumps(spec, clock, place):
  """An arm that was pushed out of its range stays within a step of it."""
  start = np.array([place, 0.0, 0.01])
  arm = FakeArm(spec, clock=clock, start=start)
  arm.connect()
  arm.command(_TARGET)  # as before the push
  arm._position = arm._target = start
  for _ in range(3):
    arm.hold()
    moved = np.abs(arm._target - start)
    assert (moved <= np.array(spec.max_step) + 1e-12).all()
    assert abs(place) > 1.1 or (spec.joint_low <= arm._target).all()


def test_stow_returns_from_outside_without_a_jump(spec, clock):
  arm = FakeArm(spec, clock=clock, start=(1.9, -1.4, 0.01))
  arm.connect()
  for _ in range(2000):
    position = arm.observe().position
    there = arm.stow()
    assert (
      np.abs(arm._target - position) <= np.array(spec.max_step) + 1e-9
    ).all()
    clock.time += 0.02
    if there:
      break
  np.testing.assert_allclose(arm._target, spec.stow)


def test_stow_stops_at_the_wall_of_the_workspace(clock):
  spec = make_arm_spec()
  # The box around the stow pose ends before the way from this pose does.
  chain = dataclasses.replace(CHAIN, low=(0.0, -0.05, 0.02))
  spec = dataclasses.replace(spec, chains=(chain,))
  assert workspace.outside(chain, np.array(spec.stow[:3])) == 0.0
  arm = FakeArm(spec, clock=clock, start=(-0.9, 0.0, 0.0, 0.0))
  arm.connect()
  far = workspace.outside(chain, np.array([-0.9, 0.0, 0.0]))
  assert far > 0.0
  for _ in range(500):  # from outside it may come in
    arm.stow()
    now = workspace.outside(chain, arm._target[:3])
    assert now <= far + 1e-9
    far = now
    clock.time += 0.02
  assert far == 0.0
  inside = FakeArm(
    dataclasses.replace(
      spec,
      chains=(dataclasses.replace(chain, low=(0.3, -0.2, 0.02)),),
      stow=(0.9, 0.0, 0.0, 0.0),
    ),
    clock=clock,
    start=(0.0, 0.0, 0.0, 0.0),
  )
  inside.connect()
  with pytest.raises(ArmError, match='must stay in the workspace'):
    for _ in range(500):
      inside.stow()
      clock.time += 0.02


def test_hold_after_frozen_readings_stays_at_the_last_command(spec, clock):
  arm = make(spec, clock, Fault(kind='frozen', at_s=0.0, seconds=5.0))
  arm.observe()
  clock.time += spec.max_observation_age_s + 0.1
  arm.command(_TARGET)
  arm.hold()
  clock.time += 6.0
  np.testing.assert_allclose(arm.observe().position, _TARGET)
