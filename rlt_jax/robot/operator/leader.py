"""A leader arm: a second arm that the operator moves and that is only read."""

import numpy as np

from rlt_jax.robot.arm import Arm, ArmError, ArmSpec
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import DeviceError, Event


class Leader:
  """An absolute device: its joints are the targets of the arm's.

  It only connects, observes and disconnects, so that no joint is powered while
  the operator moves it by hand.
  """

  name = 'leader'

  def __init__(
    self,
    leader: Arm,
    follower: ArmSpec,
    *,
    clock: Clock | None = None,
  ):
    """Takes the arm to read and the spec of the arm that follows.

    Raises:
      ValueError: joints or units differ from the follower's, or their order.
    """
    for name in ('joint_names', 'joint_units'):
      own, other = getattr(leader.spec, name), getattr(follower, name)
      if own != other:
        raise ValueError(f"{name} must be the follower's {other}: {own}.")
    self._arm = leader
    self._clock = clock or MonotonicClock()
    self._open = False
    self._position: np.ndarray | None = None

  def open(self) -> None:
    """Connects.

    Raises:
      DeviceError: the arm cannot be reached.
    """
    try:
      self._arm.connect()
    except ArmError as error:
      raise DeviceError(f'The leader cannot be opened: {error}') from error
    self._open = True

  def poll(self) -> list[Event]:
    """Reads the joints; returns no events, because an arm has no buttons.

    Raises:
      DeviceError: the leader is not open, or was lost.
    """
    self._position = None
    if not self._open:
      raise DeviceError('The leader must be opened before it is polled.')
    try:
      reading = self._arm.observe()
    except ArmError as error:
      raise DeviceError(f'The leader is gone: {error}') from error
    age = self._clock.now() - reading.time
    if age <= self._arm.spec.max_observation_age_s:
      self._position = np.array(reading.position, float)
    return []

  def pose(self) -> np.ndarray | None:
    """Returns the joints [A] last polled; None if the reading was too old."""
    return self._position

  def delta(self, pose: np.ndarray, period_s: float) -> None:
    """Returns None: a leader gives poses."""
    return None

  def close(self) -> None:
    """Disconnects; nothing moves."""
    if self._open:
      self._open, self._position = False, None
      self._arm.disconnect()
