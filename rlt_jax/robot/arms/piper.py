"""Two AgileX Piper arms by the vendor's `piper-sdk`, one CAN channel each.

On the bus a joint is an integer in 0.001 degrees and a gripper in 0.001 mm;
the nearest integer inside the limits is sent.

The SDK hides frames that it could not send, keeps one object per channel with
its old reports, and its reading thread may miss a reconnect. `PiperPort` makes
up for that.
"""

import dataclasses
import math
import threading
import time
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rlt_jax.robot.arm import ArmError, ArmSpec, Reading
from rlt_jax.robot.arms import base
from rlt_jax.robot.clock import Clock

_UNITS = {'rad': 1000 * 180 / math.pi, 'm': 1e6}  # bus units in 1 rad or m
_ALL = 7  # every motor
_CAN_CONTROL, _MOVE_JOINTS, _POSITION_MODE = 0x01, 0x01, 0x00
_GRIPPER_OFF, _GRIPPER_ON = 0x00, 0x01
_FIRST_PACKETS_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiperConfig(base.TwoArmConfig):
  """right, left: CAN channels. interface: python-can's name of the bus type.

  speed_percent: of the arm's maximum speed. gripper_mnm: mN m, gripper torque.
  """

  PLACES: ClassVar[str] = 'channels'

  interface: str = 'socketcan'
  speed_percent: int = 50
  gripper_mnm: int = 1000

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.speed_percent <= 100:
      raise ValueError(
        f'speed_percent must be within 1 and 100: {self.speed_percent}.'
      )
    if not 0 < self.gripper_mnm <= 5000:
      raise ValueError(
        f'gripper_mnm must be within 1 and 5000: {self.gripper_mnm}.'
      )


class PiperArms(base.TwoArms):
  """Both arms as one; a frame that is not sent is an ArmError."""

  def __init__(
    self,
    spec: ArmSpec,
    config: PiperConfig,
    *,
    clock: Clock | None = None,
  ):
    """Opens nothing; see `base.TwoArms`."""
    super().__init__(spec, config, clock=clock)
    self._units = np.array([_UNITS[unit] for unit in spec.joint_units])
    # Rounded inward, so that no rounded target is outside its limits; after
    # round(), because a product may miss an integer by its last bit.
    self._first = np.ceil(np.round(self._low * self._units, 6))
    self._final = np.floor(np.round(self._high * self._units, 6))
    self._ports: dict[str, PiperPort] = {}
    self._powered: set[str] = set()

  def _open(self) -> None:
    try:
      import piper_sdk
    except ImportError as error:
      raise ArmError(
        'Piper arms need a package: pip install piper-sdk==0.6.2.'
      ) from error
    self._powered.clear()
    for side in base.SIDES:
      self._ports[side] = PiperPort(
        piper_sdk, side, getattr(self._config, side), self._config.interface
      )

  def _close(self) -> None:
    for port in self._ports.values():
      port.close()
    self._ports.clear()

  def _read(self) -> Reading:
    positions, velocities, times, now = [], [], [], self._clock.now()
    for side, port in self._ports.items():
      joints, gripper, motors = reports = port.reports()
      numbers = [
        getattr(joints.joint_state, f'joint_{i}') for i in range(1, 7)
      ] + [gripper.gripper_state.grippers_angle]
      positions += numbers
      velocities += [
        getattr(motors, f'motor_{i}').motor_speed * 1e-3 for i in range(1, 7)
      ]
      velocities.append(0.0)  # the gripper reports none
      for name, report in reports._asdict().items():
        times.append(self._date(f'{side} {name}', report.time_stamp, now))
    position = np.array(positions, np.float64) / self._units
    return Reading(position, np.array(velocities), min(times))

  def _send(self, target: np.ndarray) -> np.ndarray:
    whole = np.rint(target * self._units)
    # Rounding must not leave the range; an arm outside of it must not jump.
    inside = (self._low <= target) & (target <= self._high)
    whole = np.where(inside, whole.clip(self._first, self._final), whole)
    sides = whole.astype(int).reshape(len(self._ports), -1).tolist()
    for (side, port), numbers in zip(self._ports.items(), sides, strict=True):
      arm = port.arm
      self._power(side, arm)
      arm.MotionCtrl_2(
        _CAN_CONTROL, _MOVE_JOINTS, self._config.speed_percent, _POSITION_MODE
      )
      arm.JointCtrl(*numbers[:6])
      arm.GripperCtrl(numbers[6], self._config.gripper_mnm, _GRIPPER_ON)
    return whole / self._units

  def _power_off(self) -> None:
    for port in self._ports.values():
      port.arm.GripperCtrl(0, 0, _GRIPPER_OFF)
      port.arm.DisableArm(_ALL)
    self._powered.clear()

  def _power(self, side: str, arm: Any) -> None:
    """Requests power until the motors report it, once per connection."""
    if all(arm.GetArmEnableStatus()):
      self._powered.add(side)
    elif side in self._powered:
      # A person must decide to switch on a motor that switched itself off.
      raise ArmError(f'The {side} Piper arm must have power: a motor is off.')
    else:
      arm.EnableArm(_ALL)


class Reports(NamedTuple):
  """The SDK's newest reports of an arm, each with its time_stamp."""

  joints: Any
  gripper: Any
  motors: Any


class PiperPort:
  """An open channel. `arm` is the SDK's interface to it."""

  def __init__(self, sdk: Any, side: str, channel: str, interface: str):
    """Opens the channel and waits for the arm's reports; sends nothing.

    Args:
      sdk: the piper_sdk package.
      side: of the arm, for messages.
      channel: such as 'can0'.
      interface: python-can's name of the kind of bus.

    Raises:
      ArmError: the channel cannot be opened, or the arm on it is silent.
    """
    self._side = side
    self._stop = threading.Event()
    self.arm = sdk.C_PiperInterface_V2(
      channel, judge_flag=False, can_auto_init=False
    )
    try:
      # The SDK checks the channel with the kernel, which knows socketcan only.
      self.arm.CreateCanBus(
        channel, interface, judge_flag=interface == 'socketcan'
      )
    except (ConnectionError, ValueError) as error:
      raise ArmError(f'{channel} ({side}) cannot be opened.') from error
    self._bus = self.arm.GetCanBus()
    if self._bus.send_bus is None:
      raise ArmError(f'{channel} ({side}) cannot be opened.')
    self._send = self._bus.SendCanMessage
    self._bus.SendCanMessage = self._send_or_raise
    old = [report.time_stamp for report in self.reports()]
    self.arm.ConnectPort(piper_init=False, start_thread=False)
    self._reader = threading.Thread(target=self._listen, daemon=True)
    self._reader.start()
    try:
      self._await_reports(old)
    except ArmError:
      self.close()
      raise

  def reports(self) -> Reports:
    """Returns the newest reports."""
    return Reports(
      self.arm.GetArmJointMsgs(),
      self.arm.GetArmGripperMsgs(),
      self.arm.GetArmHighSpdInfoMsgs(),
    )

  def close(self) -> None:
    """Closes the channel."""
    self._stop.set()
    self._reader.join()
    self.arm.DisconnectPort()

  def _await_reports(self, old: list[float]) -> None:
    deadline = time.monotonic() + _FIRST_PACKETS_S
    while any(
      report.time_stamp == stamp
      for report, stamp in zip(self.reports(), old, strict=True)
    ):
      if time.monotonic() > deadline:
        raise ArmError(
          f'The {self._side} Piper arm must report joints, gripper and motors '
          f'within {_FIRST_PACKETS_S} s of connecting: it is silent.'
        )
      time.sleep(0.005)

  def _listen(self) -> None:
    while not self._stop.is_set():
      if self._bus.ReadCanMessage() != self._bus.CAN_STATUS.READ_CAN_MSG_OK:
        time.sleep(0.001)  # a channel that is down fails at once

  def _send_or_raise(self, *args, **kwargs):
    status = self._send(*args, **kwargs)
    if status is not self._bus.CAN_STATUS.SEND_MESSAGE_SUCCESS:
      raise ArmError(
        f'The {self._side} Piper arm must take every frame: {status}.'
      )
    return status
