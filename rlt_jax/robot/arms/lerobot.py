"""Any LeRobot `Robot` as an arm.

It runs in LeRobot's own environment: it takes a Robot object, imports nothing
of LeRobot, and needs only NumPy and `rlt_jax.robot`.

Some robots, such as the SO-101, switch their power on when they are connected
and off when they are closed. Such an arm would fall, so it is left open, under
power, unless it was disabled before.
"""

from collections.abc import Mapping
import ctypes
import dataclasses
import logging
import math
from typing import Any

import numpy as np

from rlt_jax.robot import named_parts
from rlt_jax.robot.arm import ArmError, ArmSpec, Reading
from rlt_jax.robot.arms.base import BaseArm
from rlt_jax.robot.clock import Clock

_LOG = logging.getLogger(__name__)
_UNITS = ('same', 'deg', 'normalized', 'percent')


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointMap:
  """Maps one number of LeRobot to a joint.

  key: LeRobot's name, such as 'elbow_flex.pos'. joint: name in the spec. unit:
  'same' (rad or m, as in the spec), 'deg', 'normalized' (-100 to 100) or
  'percent' (0 to 100). at_low, at_high: for the last two, the joint at the low
  and high end, rad or m; at_low may be the larger.
  """

  key: str
  joint: str
  unit: str
  at_low: float | None = dataclasses.field(
    default=None, metadata={'absent': None}
  )
  at_high: float | None = dataclasses.field(
    default=None, metadata={'absent': None}
  )

  def __post_init__(self):
    if self.unit not in _UNITS:
      raise ValueError(f'unit must be one of {_UNITS}: {self.unit!r}.')
    ends = (self.at_low, self.at_high)
    if self.unit in ('same', 'deg'):
      if ends != (None, None):
        raise ValueError(
          f'at_low and at_high must be absent for {self.unit!r}: {ends}.'
        )
    elif None in ends or not all(map(math.isfinite, ends)) or (
      self.at_low == self.at_high
    ):  # fmt: skip
      raise ValueError(
        f'at_low and at_high must be two numbers for {self.key}: {ends}.'
      )

  def line(self) -> tuple[float, float]:
    """Returns (scale, offset): joint = scale * number + offset."""
    if self.unit == 'same':
      return 1.0, 0.0
    if self.unit == 'deg':
      return math.pi / 180.0, 0.0
    span = self.at_high - self.at_low
    if self.unit == 'percent':
      return span / 100.0, self.at_low
    return span / 200.0, self.at_low + span / 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotConfig:
  """table: a row per joint of the spec.

  unused: observed numbers that are no joints, such as velocities.
  off_at_disconnect: whether closing this robot switches its power off.
  LeRobot's robots differ, and most have a setting for it.
  """

  table: tuple[JointMap, ...]
  off_at_disconnect: bool
  unused: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotStation(LeRobotConfig):
  """Arguments of a station's file.

  robot: LeRobot's class, as 'lerobot.robots.so_follower:SO101Follower'.
  robot_arguments: of its `config_class`, such as port and id.
  """

  robot: str
  robot_arguments: Mapping[str, Any]


def open_robot(
  spec: ArmSpec, config: LeRobotStation, *, clock: Clock
) -> 'LeRobotArm':
  """Builds the robot of a station's file, and its arm; opens nothing.

  Raises:
    ValueError: no such robot, or arguments, joints or keys that do not fit.
  """
  make = named_parts.load(config.robot, 'robot')
  robot_config = named_parts.call(
    make.config_class, 'robot_arguments', arguments=config.robot_arguments
  )
  robot = named_parts.call(make, 'robot', robot_config, arguments={})
  return LeRobotArm(spec, config, robot, clock=clock)


class LeRobotArm(BaseArm):
  """A LeRobot `Robot` as an `Arm`; velocities are differences.

  Unless it was disabled, `disconnect` leaves a robot open that loses its power
  when it is closed, so that it does not fall; this process can connect again.
  """

  def __init__(
    self,
    spec: ArmSpec,
    config: LeRobotConfig,
    robot: Any,
    *,
    clock: Clock | None = None,
  ):
    """Opens nothing; reads the robot's feature names.

    Raises:
      ValueError: joints of table and spec, or keys of table and robot, differ.
    """
    super().__init__(spec, clock=clock)
    rows = {row.joint: row for row in config.table}
    _check_names('table joints', [r.joint for r in config.table],
                 spec.joint_names)  # fmt: skip
    table = [rows[joint] for joint in spec.joint_names]
    for row, unit in zip(table, spec.joint_units, strict=True):
      if row.unit == 'deg' and unit != 'rad':
        raise ValueError(f'{row.joint} must be in rad to be read in deg: m.')
    self._keys = [row.key for row in table]
    _check_names('action features', robot.action_features, self._keys)
    # Cameras have a shape.
    seen = [k for k, v in robot.observation_features.items()
            if not isinstance(v, tuple)]  # fmt: skip
    _check_names(
      'observation features', seen, [*self._keys, *config.unused]
    )  # fmt: skip
    lines = np.array([row.line() for row in table])
    self._scale, self._offset = lines[:, 0], lines[:, 1]
    self._config, self._robot = config, robot
    self._last: Reading | None = None
    self._closed = True

  def _open(self) -> None:
    self._last = None
    if not self._closed:
      return  # it was left open
    try:
      # Calibration prompts and moves the arm: use LeRobot's own tools.
      self._robot.connect(calibrate=False)
    except Exception as error:  # every robot has its own types
      raise ArmError(f'connect() failed: {error}') from error
    self._closed = False
    if not getattr(self._robot, 'is_calibrated', True):
      self._close_robot()  # it had no power before, either
      raise ArmError('The robot must be calibrated: run lerobot-calibrate.')

  def _close(self) -> None:
    if self._closed:
      return
    if not self._config.off_at_disconnect or self._disabled:
      self._close_robot()
      return
    # For ever: a robot may close itself when Python ends, and would fall.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._robot))
    _LOG.warning(
      '%s is left open, under power: closing it would take the power off. To '
      'switch it off, stow and disable it in a run.',
      self.spec.name,
    )

  def _close_robot(self) -> None:
    self._closed = True
    self._robot.disconnect()

  def _read(self) -> Reading:
    start_time = self._clock.now()  # the joints are not older
    try:
      seen = self._robot.get_observation()
    except Exception as error:
      raise ArmError(f'get_observation() failed: {error}') from error
    position = self._joints(seen, 'get_observation()')
    velocity = np.zeros_like(position)
    if self._last is not None and start_time > self._last.time:
      velocity = (position - self._last.position) / (
        start_time - self._last.time
      )
    self._last = Reading(position, velocity, start_time)
    return self._last

  def _send(self, target: np.ndarray) -> np.ndarray:
    numbers = (target - self._offset) / self._scale
    action = dict(zip(self._keys, numbers.tolist(), strict=True))
    try:
      sent = self._robot.send_action(action)
    except Exception as error:
      raise ArmError(f'send_action() failed: {error}') from error
    return self._joints(sent, 'send_action()')

  def _power_off(self) -> None:
    if not self._config.off_at_disconnect:
      raise ArmError(
        'disable() must have a way to take the power off: this robot keeps '
        'it; switch it off by hand.'
      )
    self._close_robot()

  def _joints(self, numbers: dict[str, Any], source: str) -> np.ndarray:
    missing = [key for key in self._keys if key not in numbers]
    if missing:
      raise ArmError(f'{source} must give every joint; missing: {missing}.')
    values = np.array([float(numbers[key]) for key in self._keys])
    return values * self._scale + self._offset


def _check_names(what: str, found: Any, expected: Any) -> None:
  found, expected = list(found), list(expected)
  if sorted(found) != sorted(expected):
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    raise ValueError(
      f'{what} must be {sorted(expected)}; missing {missing}, extra {extra}.'
    )
