"""A leader arm: a second arm that the operator moves and that is only read."""

import numpy as np

from rlt_jax.robot.arm import Arm, ArmError, ArmSpec, Reading
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import DeviceError, Event, Kind

_MAX_FAULTS = 2  # readings in a row that may fail, as for the arm itself


class Leader:
  """An absolute device: its joints are the targets of the arm's.

  It only connects, observes and disconnects, so that no joint is powered while
  the operator moves it by hand. A lost packet is survived with the reading
  before it, as long as that is not too old.
  """

  name = 'leader'
  kinds: frozenset[Kind] = frozenset()  # an arm has no buttons

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
    self._reading: Reading | None = None
    self._faults = 0  # in a row

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
    """Reads the joints; returns no events.

    Raises:
      DeviceError: the leader is not open, or several readings in a row failed.
    """
    if not self._open:
      raise DeviceError('The leader must be opened before it is polled.')
    try:
      self._reading, self._faults = self._arm.observe(), 0
    except ArmError as error:
      self._faults += 1
      if self._faults > _MAX_FAULTS:
        self._reading = None
        raise DeviceError(
          f'The leader is gone, {self._faults} readings in a row failed: '
          f'{error}'
        ) from error
    return []

  def pose(self) -> np.ndarray | None:
    """Returns the joints [A] last read; None if the reading is too old."""
    reading = self._reading
    if reading is None:
      return None
    age = self._clock.now() - reading.time
    if not age <= self._arm.spec.max_observation_age_s:
      return None
    return np.array(reading.position, float)

  def delta(self, pose: np.ndarray, period_s: float) -> None:
    """Returns None: a leader gives poses."""
    return None

  def close(self) -> None:
    """Disconnects; nothing moves."""
    if self._open:
      self._open, self._reading = False, None
      self._arm.disconnect()
