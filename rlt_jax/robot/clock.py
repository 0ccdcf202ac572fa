"""The time that the loop runs on; tests put their own in its place."""

import time
from typing import Protocol


class Clock(Protocol):
  """Seconds that only go forward; where they start means nothing."""

  def now(self) -> float: ...  # noqa: D102

  def sleep_until(self, deadline: float) -> None:
    """Returns at `deadline` or, as little as it can, later."""


class MonotonicClock:
  """The host's monotonic clock: setting the date does not move it."""

  def now(self) -> float:
    """Returns the time, s."""
    return time.monotonic()

  def sleep_until(self, deadline: float) -> None:
    """Sleeps until `deadline`, s; returns at once when it has passed."""
    while (rest := deadline - time.monotonic()) > 0.0:
      time.sleep(rest)
