"""Which number of a LeRobot `Robot` is which joint, and in what unit."""

import dataclasses
import math

_UNITS = ('same', 'deg', 'normalised', 'percent')


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointMap:
  """One LeRobot number and the joint it is.

  key: LeRobot's name, such as 'elbow_flex.pos'. joint: ours. unit: 'same'
  (rad or m, as the spec has it), 'deg', 'normalised' (-100 to 100) or
  'percent' (0 to 100). at_low, at_high: for the last two, the joint at the
  two ends, rad or m; at_low may be the larger.
  """

  key: str
  joint: str
  unit: str
  at_low: float | None = None
  at_high: float | None = None

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

  unused: numbers that the robot observes and no joint is, such as
  velocities. off_at_disconnect: whether closing this robot takes its power
  (LeRobot's robots differ, and most have a setting for it).
  """

  table: tuple[JointMap, ...]
  off_at_disconnect: bool
  unused: tuple[str, ...] = ()
