"""Deadlines of the control loop."""

import math
from typing import NamedTuple

from rlt_jax.robot.clock import Clock


class Wakeup(NamedTuple):
  """One wait. late_s: after the deadline. missed: deadlines that passed before
  the call. jumped: the clock went back, and a new grid begins."""

  late_s: float
  missed: int
  jumped: bool


class Deadlines:
  """Deadlines on a fixed grid that begins with the first wait.

  A deadline that passed while the loop was busy is skipped: two commands in a
  row to catch up would be one command at twice the speed.
  """

  def __init__(self, clock: Clock, period_s: float):
    self._clock, self._period_s = clock, period_s
    self.reset()

  def reset(self) -> None:
    """Makes the next wait begin a new grid."""
    self._origin: float | None = None  # s, of deadline 0
    self._index = -1  # of the last deadline

  def wait(self) -> Wakeup:
    """Sleeps until the next deadline that has not passed yet."""
    period, jumped = self._period_s, False
    now = self._clock.now()
    self._origin = now if self._origin is None else self._origin
    ahead = (self._origin - now) / period + self._index + 1
    if ahead > 1.001:  # a deadline is never further away than a period
      jumped = True
      self._origin, self._index, ahead = now, -1, 0.0
    missed = max(0, math.ceil(-ahead - 1e-6))
    self._index += 1 + missed
    deadline = self._origin + self._index * period
    self._clock.sleep_until(deadline)
    return Wakeup(max(0.0, self._clock.now() - deadline), missed, jumped)
