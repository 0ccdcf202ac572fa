"""Two Trossen WidowX AI arms by the vendor's `trossen-arm` driver.

The vendor's driver accepts NaN and targets outside the joint ranges; `BaseArm`
refuses them before.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any, ClassVar

import numpy as np

from rlt_jax.robot.arm import ArmError, ArmSpec, Reading
from rlt_jax.robot.arms import base
from rlt_jax.robot.clock import Clock

_SIDE = len(base.JOINTS) // 2  # joints an arm, the gripper last
_FLOAT32 = 1e-5  # the controller keeps its limits in float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrossenConfig(base.TwoArmConfig):
  """right, left: IP addresses of the two controllers.

  goal_time_s: in which the controller moves on a straight line to a new target;
  the control period. timeout_s: for opening a connection.
  """

  PLACES: ClassVar[str] = 'addresses'

  goal_time_s: float = 0.02
  timeout_s: float = 5.0

  def __post_init__(self):
    super().__post_init__()
    if not 0.001 < self.goal_time_s <= 0.2:
      # Outside, the controller jumps or plans a stop at each target.
      raise ValueError(
        f'goal_time_s must be within 0.001 and 0.2: {self.goal_time_s}.'
      )
    if not self.timeout_s > 0.0:
      raise ValueError(f'timeout_s must be positive: {self.timeout_s}.')


class TrossenArms(base.TwoArms):
  """Both arms as one; a fault of either is an ArmError.

  The vendor's driver brakes the joints when it is closed, so `disconnect` has
  the effect of `disable`.
  """

  def __init__(
    self,
    spec: ArmSpec,
    config: TrossenConfig,
    *,
    clock: Clock | None = None,
  ):
    """Opens nothing; see `base.TwoArms`."""
    super().__init__(spec, config, clock=clock)
    self._modes: Any = None
    self._drivers: dict[str, Any] = {}
    self._powered = False

  def _open(self) -> None:
    try:
      import trossen_arm
    except ImportError as error:
      raise ArmError(
        'Trossen arms need a package: pip install trossen-arm==1.11.0.'
      ) from error
    self._modes, self._powered = trossen_arm.Mode, False
    for side in base.SIDES:
      driver = trossen_arm.TrossenArmDriver()
      with _faults_of(side):
        driver.configure(
          trossen_arm.Model.wxai_v0,
          trossen_arm.StandardEndEffector.wxai_v0_follower,
          getattr(self._config, side),
          False,  # a person must look at a controller's error and clear it
          self._config.timeout_s,
        )
        self._drivers[side] = driver
        self._check_limits(side, driver.get_joint_limits())
    self._read()  # notes the first stamps, so that a dead link gets old

  def _close(self) -> None:
    for driver in self._drivers.values():
      driver.cleanup()
    self._drivers.clear()

  def _read(self) -> Reading:
    positions, velocities, times, now = [], [], [], self._clock.now()
    for side, driver in self._drivers.items():
      with _faults_of(side):
        output = driver.get_robot_output()
      positions += output.joint.all.positions
      velocities += output.joint.all.velocities
      times.append(self._date(side, output.header.timestamp, now))
    return Reading(np.array(positions), np.array(velocities), min(times))

  def _send(self, target: np.ndarray) -> np.ndarray:
    if not self._powered:
      for side, driver in self._drivers.items():
        with _faults_of(side):
          driver.set_all_modes(self._modes.position)
      self._powered = True
    for i, (side, driver) in enumerate(self._drivers.items()):
      with _faults_of(side):
        driver.set_all_positions(
          target[i * _SIDE : (i + 1) * _SIDE], self._config.goal_time_s, False
        )
    return target

  def _power_off(self) -> None:
    for side, driver in self._drivers.items():
      with _faults_of(side):
        driver.set_all_modes(self._modes.idle)
    self._powered = False

  def _check_limits(self, side: str, limits: list[Any]) -> None:
    """Refuses a spec with wider limits than the controller's."""
    start = base.SIDES.index(side) * _SIDE
    for i, limit in enumerate(limits, start):
      if (
        self._low[i] < limit.position_min - _FLOAT32
        or self._high[i] > limit.position_max + _FLOAT32
      ):
        raise ArmError(
          f'{self.spec.joint_names[i]} must stay within the limits of the '
          f'controller, {limit.position_min:.5f} and {limit.position_max:.5f}: '
          f'{self._low[i]} and {self._high[i]}.'
        )


@contextlib.contextmanager
def _faults_of(side: str) -> Iterator[None]:
  """Turns the vendor's errors into an ArmError that names the arm."""
  try:
    yield
  except (RuntimeError, AssertionError) as error:  # bases of the vendor's two
    reason = str(error).partition('\n')[0]
    raise ArmError(f'The {side} Trossen arm failed: {reason}.') from error
