"""Base classes of the drivers.

A driver adds how its device is opened, read and written. Refusing bad targets,
dating readings, holding and stowing are the same for all.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from rlt_jax.robot.arm import ArmError, ArmSpec, Reading
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.control import workspace

SIDES = ('right', 'left')
_PARTS = ('j1', 'j2', 'j3', 'j4', 'j5', 'j6', 'gripper')
# Two six-joint arms with grippers, in the order that policies are trained in.
JOINTS = tuple(f'{side}_{part}' for side in SIDES for part in _PARTS)

_STOW_SPEED = 0.25  # of the joint's maximum velocity
_STOW_GAP_S = 0.05  # s, longest time that one call moves the ramp by


class BaseArm:
  """An `Arm` (see `rlt_jax.robot.arm`); a driver implements five methods.

  _open, _close: open and close the device. `_close` never moves it, and is also
    called when `_open` fails halfway.
  _read: returns the newest Reading, in the loop's time.
  _send: sends checked targets [A] and returns those really sent [A]; switches
    the arm's power on first. Those of a hold or stow may be outside the range,
    where the arm stands outside, and must then be sent as they are.
  _power_off: switches the power off.
  """

  def __init__(self, spec: ArmSpec, *, clock: Clock | None = None):
    """Opens nothing.

    Args:
      spec: the arm's file.
      clock: the loop's; None is the host's monotonic clock.
    """
    self.spec = spec
    self._clock = clock or MonotonicClock()
    self._low = np.array(spec.joint_low, np.float64)
    self._high = np.array(spec.joint_high, np.float64)
    self._connected = self._disabled = False
    self._dates: dict[str, tuple[float, float]] = {}
    self._sent: np.ndarray | None = None  # the last command
    self._hold_pose: np.ndarray | None = None  # of hold()
    self._stow_ramp: tuple[np.ndarray, float] | None = None  # target and time

  def connect(self) -> None:
    """Opens the device; nothing moves.

    Raises:
      ArmError: it is open already, cannot be opened, or its package is
        missing.
    """
    if self._connected:
      raise ArmError('connect() must come once: the arm is open.')
    self._dates.clear()
    self._sent = self._hold_pose = self._stow_ramp = None
    self._disabled = False
    try:
      self._open()
    except BaseException:
      self._close()
      raise
    self._connected = True

  def observe(self) -> Reading:
    """Returns the newest Reading, also an old one of a silent device."""
    self._check_open('observe')
    return self._read()

  def command(self, target: np.ndarray) -> np.ndarray:
    """Sends targets [A] (rad, m); returns those really sent.

    Raises:
      ArmError: the shape is not [A], a number is outside the joint's range or
        not finite, or the device refused them.
    """
    self._check_power('command')
    self._sent = self._send(self._checked(target))
    self._hold_pose = self._stow_ramp = None
    return self._sent.copy()

  def hold(self) -> None:
    """Stays where it is; repeated calls keep the pose of the first.

    An arm outside its range moves toward it by `spec.max_step` at most.
    """
    self._check_power('hold')
    if self._hold_pose is None:
      self._hold_pose = self._measured_or_sent()
    self._stow_ramp = None
    self._sent = self._send(self._hold_pose)

  def stow(self) -> bool:
    """Moves toward the stow pose; True within `spec.max_step` of it.

    Raises:
      ArmError: nothing is measured, the way there leaves the workspace, or the
        device refused the target.
    """
    self._check_power('stow')
    position, now = self._read().position, self._clock.now()
    if not np.isfinite(position).all():
      raise ArmError(f'stow() needs a finite reading: {position}.')
    goal = np.array(self.spec.stow, np.float64)
    target, before = self._stow_ramp or (position, now)
    step = np.array(self.spec.max_velocity) * _STOW_SPEED
    step = step * np.clip(now - before, 0.0, _STOW_GAP_S)
    target = target + np.clip(goal - target, -step, step)
    # The ramp must not run ahead of an arm that is blocked; this limit comes
    # last, so that an arm outside its range returns without a jump.
    reach = np.array(self.spec.max_step)
    target = np.clip(target, self._low, self._high)
    target = np.clip(target, position - reach, position + reach)
    self._check_way(position, target)
    self._hold_pose, self._stow_ramp = None, (target, now)
    self._sent = self._send(target)
    there = np.abs(position - goal) <= reach
    return bool(there.all() and np.array_equal(target, goal))

  def disable(self) -> None:
    """Switches the power off; only connect() switches it on again."""
    self._check_open('disable')
    self._power_off()
    self._disabled = True

  def disconnect(self) -> None:
    """Closes the device; does nothing if it is closed."""
    if self._connected:
      self._connected = False
      self._close()

  def _open(self) -> None:
    raise NotImplementedError

  def _close(self) -> None:
    raise NotImplementedError

  def _read(self) -> Reading:
    raise NotImplementedError

  def _send(self, target: np.ndarray) -> np.ndarray:
    raise NotImplementedError

  def _power_off(self) -> None:
    raise NotImplementedError

  def _date(self, part: str, stamp: float, now: float) -> float:
    """Returns when a part's device stamp last changed, in the loop's time.

    The device's clock drifts against the loop's and may be reset, so only the
    change of the stamp is used.
    """
    if part not in self._dates or self._dates[part][0] != stamp:
      self._dates[part] = (stamp, now)
    return self._dates[part][1]

  def _checked(self, target: np.ndarray) -> np.ndarray:
    target = np.array(target, np.float64)
    if target.shape != self._low.shape:
      raise ArmError(
        f'A target must have the shape {self._low.shape}: {target.shape}.'
      )
    # A comparison with NaN is false, so this finds NaN too.
    inside = (target >= self._low) & (target <= self._high)
    if not inside.all():
      i = int(np.argmin(inside))
      raise ArmError(
        f'A target for {self.spec.joint_names[i]} must be within '
        f'{self._low[i]} and {self._high[i]} {self.spec.joint_units[i]}: '
        f'{target[i]}.'
      )
    return target

  def _measured_or_sent(self) -> np.ndarray:
    try:
      reading = self._read()
    except ArmError:
      reading = None
    place = self._sent  # the second best: where it moves to
    if reading is not None and np.isfinite(reading.position).all():
      age = self._clock.now() - reading.time
      # An old pose is where it was: it would jump back.
      if place is None or 0.0 <= age <= self.spec.max_observation_age_s:
        place = reading.position
    if place is None:
      raise ArmError('hold() needs a pose: none was measured, none was sent.')
    # At the end of a joint the sensor may read slightly beyond the limit. An
    # arm that is far outside must not jump back.
    reach = np.array(self.spec.max_step)
    inside = np.clip(place, self._low, self._high)
    return np.clip(inside, place - reach, place + reach)

  def _check_way(self, position: np.ndarray, target: np.ndarray) -> None:
    """Raises an ArmError if a tip would leave its box, or get farther out."""
    names = list(self.spec.joint_names)
    for chain in self.spec.chains:
      joints = [names.index(name) for name in chain.joints]
      before, after = (
        workspace.outside(chain, x[joints]) for x in (position, target)
      )
      if not (after == 0.0 or after <= before):
        raise ArmError(
          f'The way to the stow pose must stay in the workspace: the tip of '
          f'{chain.joints[-1]} would be {1e3 * after:.0f} mm outside. Move the '
          'arm by hand or by teleoperation first.'
        )

  def _check_open(self, method: str) -> None:
    if not self._connected:
      raise ArmError(f'connect() must come before {method}().')

  def _check_power(self, method: str) -> None:
    self._check_open(method)
    if self._disabled:
      raise ArmError(
        f'{method}() must come before disable(): disconnect and connect.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoArmConfig:
  """right, left: how each of two arms is reached, see PLACES."""

  PLACES: ClassVar[str] = 'places'

  right: str
  left: str

  def __post_init__(self):
    if not self.right or not self.left or self.right == self.left:
      raise ValueError(
        f'right and left must be two {self.PLACES}: {self.right!r}, '
        f'{self.left!r}.'
      )


class TwoArms(BaseArm):
  """Two arms with the joints of `JOINTS`, as one."""

  def __init__(self, spec: ArmSpec, config: Any, *, clock: Clock | None = None):
    """Opens nothing.

    Args:
      spec: the arms' file.
      config: a `TwoArmConfig` with the driver's own fields.
      clock: the loop's; None is the host's monotonic clock.

    Raises:
      ValueError: the spec's joints are not `JOINTS`, in their order.
    """
    check_joints(spec)
    super().__init__(spec, clock=clock)
    self._config = config


def check_joints(spec: ArmSpec) -> None:
  """Raises a ValueError unless the spec lists JOINTS, in their order."""
  if spec.joint_names != JOINTS:
    raise ValueError(f'joint_names must be {JOINTS}: {spec.joint_names}.')
