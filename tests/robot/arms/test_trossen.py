"""Both arms against the vendor's stand-in, one process an arm.

Run in an environment that has both packages; `-s` prints the timing.
"""

import dataclasses
import math
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from rlt_jax.robot import arm
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.arms.trossen import TrossenArms, TrossenConfig
from tests.robot.arms.conftest import SPECS

_ADDRESSES = {'right': '127.0.0.1', 'left': '127.0.0.2'}
_TCP_PORT = 50001  # the controller's; the vendor's driver knows no other
_TICKS, _PERIOD = 200, 0.02


@pytest.fixture
def spec():
  return arm.load_spec(SPECS / 'trossen_widowx_ai.json')


@pytest.fixture(scope='module')
def stand_ins():
  pytest.importorskip('trossen_arm')
  pytest.importorskip('trossen_arm_sim')
  processes = {}
  for i, (side, address) in enumerate(_ADDRESSES.items()):
    processes[side] = subprocess.Popen(
      # An arm's controller is a computer of its own: it takes nothing here.
      ['nice', '-n', '10', sys.executable, '-m', 'trossen_arm_sim',
       '--host', address, '--ws-port', str(50012 + i)],
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
  try:
    for address in _ADDRESSES.values():
      await_server(address)
    yield processes
  finally:
    for process in processes.values():
      process.kill()
      process.wait()


def await_server(address):
  deadline = time.monotonic() + 60.0
  while True:
    try:
      socket.create_connection((address, _TCP_PORT), timeout=1.0).close()
      return
    except OSError:
      assert time.monotonic() < deadline, f'{address} does not answer'
      time.sleep(0.1)


@pytest.fixture
def arms(spec, stand_ins):
  arms = TrossenArms(spec, TrossenConfig(**_ADDRESSES, timeout_s=20.0))
  arms.connect()
  yield arms
  arms.disconnect()


def go(arms, goal, seconds=5.0):
  """Commands goal until both arms are there."""
  deadline = time.monotonic() + seconds
  while time.monotonic() < deadline:
    arms.command(goal)
    time.sleep(_PERIOD)
    if np.abs(arms.observe().position - goal).max() < 0.02:
      return
  raise AssertionError(f'{arms.observe().position} is not {goal}')


def test_both_arms_at_50_hz(arms):
  middle = np.array([0.3, 0.3, 0.3, 0.0, 0.0, 0.0, 0.02] * 2)
  go(arms, middle)
  size = np.array([0.05] * 6 + [0.005]) * np.array([[1.0], [-1.0]])
  took, late, times = [], 0, []
  due = time.monotonic()
  for tick in range(_TICKS):
    due += _PERIOD
    began = time.monotonic()
    reading = arms.observe()
    target = middle + size.ravel() * math.sin(2 * math.pi * tick / 100)
    np.testing.assert_array_equal(arms.command(target), target)
    took.append(time.monotonic() - began)
    times.append(reading.time)
    late += time.monotonic() > due
    time.sleep(max(due - time.monotonic(), 0.0))
    error = np.abs(arms.observe().position - target).max()
    assert error < 0.1
  took = 1e3 * np.array(took)
  print(
    f'\nTrossen, 2 arms, {_TICKS} ticks at {1 / _PERIOD:.0f} Hz: I/O mean '
    f'{took.mean():.2f} ms, p50 {np.median(took):.2f} ms, p99 '
    f'{np.percentile(took, 99):.2f} ms, max {took.max():.2f} ms; '
    f'{(took > 1e3 * _PERIOD).sum()} took a period, {late} ended late'
  )
  # Packets keep coming; how fast is for the figures above to say.
  assert len(set(times)) > _TICKS // 2
  assert reading.position.shape == reading.velocity.shape == (14,)


def test_each_arm_gets_its_own_half(arms):
  goal = np.clip(np.zeros(14), arms.spec.joint_low, arms.spec.joint_high)
  goal[0], goal[7], goal[6], goal[13] = 0.2, -0.2, 0.03, 0.01
  go(arms, goal)
  position = arms.observe().position
  assert position[0] > 0.15 and position[7] < -0.15
  assert position[6] > position[13] + 0.01


@pytest.mark.parametrize('bad', [math.nan, 9.0])
def test_targets_that_the_vendor_accepts_silently_are_refused(arms, bad):
  go(arms, np.zeros(14))
  target = np.zeros(14)
  target[3] = bad
  with pytest.raises(ArmError, match='right_j4 must be within'):
    arms.command(target)
  time.sleep(0.2)
  np.testing.assert_allclose(arms.observe().position, 0.0, atol=0.02)


def test_hold_and_stow(arms):
  goal = np.zeros(14)
  goal[[1, 8]] = 0.3
  go(arms, goal)
  arms.hold()
  place = arms.observe().position
  time.sleep(0.3)
  arms.hold()
  np.testing.assert_allclose(arms.observe().position, place, atol=0.01)
  deadline = time.monotonic() + 10.0
  while not arms.stow():
    assert time.monotonic() < deadline
    time.sleep(_PERIOD)
  np.testing.assert_allclose(
    arms.observe().position, 0.0, atol=max(arms.spec.max_step)
  )


def test_a_spec_wider_than_the_controllers_is_refused(spec, stand_ins):
  wide = (*spec.joint_high[:3], 2.0, *spec.joint_high[4:])
  arms = TrossenArms(
    dataclasses.replace(spec, joint_high=wide),
    TrossenConfig(**_ADDRESSES, timeout_s=20.0),
  )
  with pytest.raises(ArmError, match='right_j4 must stay within the limits'):
    arms.connect()


def test_a_dead_controller_is_named(spec, stand_ins):
  arms = TrossenArms(spec, TrossenConfig(**_ADDRESSES, timeout_s=20.0))
  arms.connect()
  arms.command(np.zeros(14))
  stand_ins['left'].kill()
  stand_ins['left'].wait()
  with pytest.raises(ArmError, match='The left Trossen arm failed: .*UDP'):
    for _ in range(100):
      arms.observe()
      time.sleep(_PERIOD)
  arms.disconnect()
  with pytest.raises(ArmError, match='The left Trossen arm failed: .*connect'):
    TrossenArms(spec, TrossenConfig(**_ADDRESSES, timeout_s=0.5)).connect()


def test_a_missing_package_is_reported(spec, monkeypatch):
  monkeypatch.setitem(sys.modules, 'trossen_arm', None)
  arms = TrossenArms(spec, TrossenConfig(**_ADDRESSES))
  with pytest.raises(ArmError, match='pip install trossen-arm==1.11.0'):
    arms.connect()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'left': '127.0.0.1'}, 'right and left must be two addresses'),
    ({'goal_time_s': 0.5}, 'goal_time_s must be within'),
    ({'timeout_s': 0.0}, 'timeout_s must be positive'),
  ],
)
def test_a_bad_config_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    TrossenConfig(**_ADDRESSES | changes)
