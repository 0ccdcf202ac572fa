"""Both arms against a controller of our own on python-can's virtual bus."""

import struct
import sys
import threading
import time

import numpy as np
import pytest

from rlt_jax.robot import arm
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.arms.piper import PiperArms, PiperConfig
from tests.robot.arms.conftest import SPECS

_CHANNELS = {'right': 'piper_r', 'left': 'piper_l'}
_MILLIDEGREE = np.pi / 180e3


class Controller:
  """Reports joints, gripper and motors 100 times a second; keeps frames."""

  def __init__(self, channel):
    import can

    self._can = can
    self.bus = can.Bus(channel=channel, interface='virtual')
    self.numbers = [0] * 7  # 0.001 degrees, and 0.001 mm
    self.speeds = [0] * 6
    self.enabled = self.silent = False
    self.follows = True
    self.frames = []
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def _report(self, frame, data):
    self.bus.send(
      self._can.Message(
        arbitration_id=frame, data=data.ljust(8, b'\0'), is_extended_id=False
      )
    )

  def _run(self):
    while not self._stop.wait(0.01):
      while (message := self.bus.recv(0.0)) is not None:
        self._take(message.arbitration_id, bytes(message.data))
      if self.silent:
        continue
      for i in range(3):
        pair = self.numbers[2 * i : 2 * i + 2]
        self._report(0x2A5 + i, struct.pack('>ii', *pair))
      self._report(0x2A8, struct.pack('>i', self.numbers[6]))
      for i, speed in enumerate(self.speeds):
        self._report(0x251 + i, struct.pack('>h', speed))
        status = 0x40 if self.enabled else 0x00
        self._report(0x261 + i, bytes([0, 0, 0, 0, 0, status, 0, 0]))

  def _take(self, frame, data):
    self.frames.append((frame, data))
    if frame == 0x471:
      self.enabled = data[1] == 0x02
    elif self.follows and 0x155 <= frame <= 0x157:
      i = 2 * (frame - 0x155)
      self.numbers[i : i + 2] = struct.unpack('>ii', data)
    elif self.follows and frame == 0x159 and data[6]:
      self.numbers[6] = struct.unpack('>i', data[:4])[0]

  def close(self):
    self._stop.set()
    self._thread.join()
    self.bus.shutdown()


@pytest.fixture
def spec():
  return arm.load_spec(SPECS / 'piper.json')


@pytest.fixture
def controllers():
  pytest.importorskip('piper_sdk')
  found = {side: Controller(name) for side, name in _CHANNELS.items()}
  yield found
  for controller in found.values():
    controller.close()


@pytest.fixture
def arms(spec, controllers):
  arms = PiperArms(spec, config())
  arms.connect()
  yield arms
  arms.disconnect()


def config(**changes):
  return PiperConfig(**_CHANNELS | {'interface': 'virtual'} | changes)


def settle():
  time.sleep(0.1)


def middle(spec):
  return (np.array(spec.joint_low) + np.array(spec.joint_high)) / 2


def test_connecting_sends_nothing(arms, controllers):
  settle()
  assert not controllers['right'].frames
  assert not controllers['left'].frames


def test_a_command_is_these_frames(arms, controllers):
  target = middle(arms.spec)
  target[:7] = [0.1, 0.2, -0.3, 0.4, -0.5, 0.6, 0.035]
  sent = arms.command(target)
  settle()
  frames = dict(controllers['right'].frames)
  assert frames[0x471][:2] == b'\x07\x02'  # every motor on
  assert frames[0x151][:4] == b'\x01\x01\x32\x00'  # CAN, joints, 50 %
  expected = np.rint(target[:6] / _MILLIDEGREE).astype(int)
  for i in range(3):
    pair = struct.unpack('>ii', frames[0x155 + i])
    assert pair == tuple(expected[2 * i : 2 * i + 2])
  assert struct.unpack('>ihB', frames[0x159][:7]) == (35000, 1000, 1)
  np.testing.assert_allclose(sent[:6], expected * _MILLIDEGREE, rtol=1e-12)
  assert sent[6] == 0.035
  # The other arm had its own half.
  other = struct.unpack('>ii', dict(controllers['left'].frames)[0x156])
  np.testing.assert_allclose(
    np.array(other) * _MILLIDEGREE, target[9:11], atol=_MILLIDEGREE
  )


def test_rounding_stays_inside_the_limits(arms, controllers):
  for end in (arms.spec.joint_low, arms.spec.joint_high):
    sent = arms.command(np.array(end))
    assert (sent >= np.array(arms.spec.joint_low) - 1e-12).all()
    assert (sent <= np.array(arms.spec.joint_high) + 1e-12).all()
    np.testing.assert_allclose(sent, end, atol=_MILLIDEGREE)


def test_a_reading_is_in_rad_and_m(arms, controllers):
  controllers['right'].numbers = [-90000, 1, -57296, 0, 0, 0, 70000]
  controllers['left'].speeds = [1000, -2000, 0, 0, 0, 0]
  settle()
  reading = arms.observe()
  np.testing.assert_allclose(reading.position[:3], [
    -np.pi / 2, _MILLIDEGREE, -57296 * _MILLIDEGREE
  ])  # fmt: skip
  assert reading.position[6] == 0.07
  np.testing.assert_allclose(reading.velocity[7:9], [1.0, -2.0])


def test_a_commanded_pose_is_read_back(arms, controllers):
  target = middle(arms.spec)
  for _ in range(3):
    sent = arms.command(target)
    settle()
  np.testing.assert_allclose(arms.observe().position, sent, atol=1e-9)


def test_the_time_stops_with_one_silent_arm(arms, controllers):
  settle()
  arms.observe()
  controllers['left'].silent = True
  settle()
  last = arms.observe().time
  settle()
  assert arms.observe().time == last
  controllers['left'].silent = False
  settle()
  assert arms.observe().time > last


def test_a_motor_that_switched_off_is_not_switched_on_again(arms, controllers):
  target = middle(arms.spec)
  for _ in range(2):
    arms.command(target)
    settle()
  controllers['left'].enabled = False
  settle()
  with pytest.raises(ArmError, match='left Piper arm must have power'):
    arms.command(target)


def test_disable_cuts_the_motors(arms, controllers):
  arms.command(middle(arms.spec))
  settle()
  arms.disable()
  settle()
  assert not controllers['right'].enabled
  assert not controllers['left'].enabled
  with pytest.raises(ArmError, match='must come before disable'):
    arms.hold()


def test_a_frame_that_is_not_sent_is_an_error(arms):
  arms._ports['right'].arm.GetCanBus().send_bus.shutdown()
  with pytest.raises(ArmError, match='right Piper arm must take every frame'):
    arms.command(middle(arms.spec))


def test_a_silent_arm_is_not_connected_to(arms, spec, controllers):
  arms.disconnect()
  controllers['right'].silent = True
  settle()
  # The SDK still has the reports of the first connection.
  with pytest.raises(ArmError, match='right Piper arm must report'):
    PiperArms(spec, config()).connect()
  controllers['right'].silent = False
  again = PiperArms(spec, config())
  again.connect()
  again.command(middle(spec))
  settle()
  assert 0x155 in dict(controllers['right'].frames)
  again.disconnect()


def test_both_arms_at_50_hz(arms, controllers):
  took, late, target = [], 0, middle(arms.spec)
  due = time.monotonic()
  for _ in range(200):
    due += 0.02
    began = time.monotonic()
    arms.observe()
    arms.command(target)
    took.append(time.monotonic() - began)
    late += time.monotonic() > due
    time.sleep(max(due - time.monotonic(), 0.0))
  took = 1e3 * np.array(took)
  print(
    f'\nPiper, 2 arms, 200 ticks at 50 Hz: I/O mean {took.mean():.2f} ms, p50 '
    f'{np.median(took):.2f} ms, p99 {np.percentile(took, 99):.2f} ms, max '
    f'{took.max():.2f} ms; {(took > 20.0).sum()} took a period, {late} ended '
    'late'
  )
  settle()
  sent = [frame for frame, _ in controllers['right'].frames]
  assert sent.count(0x155) == sent.count(0x159) == 200


def test_a_missing_package_is_reported(spec, monkeypatch):
  monkeypatch.setitem(sys.modules, 'piper_sdk', None)
  with pytest.raises(ArmError, match='pip install piper-sdk==0.6.2'):
    PiperArms(spec, config()).connect()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'left': 'piper_r'}, 'right and left must be two channels'),
    ({'speed_percent': 0}, 'speed_percent must be within'),
    ({'gripper_mnm': 6000}, 'gripper_mnm must be within'),
  ],
)
def test_a_bad_config_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    config(**changes)
