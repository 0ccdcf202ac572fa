"""The loop's clock; tests replace it."""

import time
from typing import Protocol


class Clock(Protocol):
  """Monotonic time in seconds, from any origin."""

  def now(self) -> float: ...  # noqa: D102

  def sleep_until(self, deadline: float) -> None:
    """Returns at `deadline`, s, or as soon as possible after it."""


class MonotonicClock:
  """The host's monotonic clock, which setting the date does not change."""

  def now(self) -> float:
    """Returns the time, s."""
    return time.monotonic()

  def sleep_until(self, deadline: float) -> None:
    """Sleeps until `deadline`, s; returns at once when it has passed."""
    while (rest := deadline - time.monotonic()) > 0.0:
      time.sleep(rest)
