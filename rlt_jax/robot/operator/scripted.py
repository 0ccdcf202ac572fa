"""Operators without a person, for tests and unattended runs."""

from collections.abc import Callable, Iterable, Sequence
import math
from typing import Any

import numpy as np

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import DeviceError, Event, Kind


class Scripted:
  """Replays events at their times, in seconds from `open`."""

  def __init__(
    self,
    script: Sequence[tuple[float, Kind]],
    *,
    name: str = 'scripted',
    clock: Clock | None = None,
  ):
    """Takes (s, kind) pairs in order of time.

    Raises:
      ValueError: a time that is negative, not finite or before its
        predecessor.
    """
    times = [0.0, *(at for at, _ in script)]
    for before, at in zip(times[:-1], times[1:], strict=True):
      if not (math.isfinite(at) and at >= before):
        raise ValueError(
          f'A script must be in order of time: {at} after {before}.'
        )
    self.name = name
    self._script = tuple(script)
    self._clock = clock or MonotonicClock()
    self._start: float | None = None
    self._next = 0

  def open(self) -> None:
    """Starts the script, from its beginning."""
    self._start, self._next = self._clock.now(), 0

  def poll(self) -> list[Event]:
    """Returns the events since the last call, with their own times."""
    if self._start is None:
      raise DeviceError('A script must be opened before it is polled.')
    now, events = self._clock.now(), []
    while self._next < len(self._script):
      at, kind = self._script[self._next]
      if self._start + at > now:
        break
      events.append(Event(kind, self._start + at, self.name))
      self._next += 1
    return events

  def close(self) -> None:
    """Ends the script."""
    self._start = None


class StateOperator:
  """Gives the events that a function returns for the present state."""

  def __init__(
    self,
    events_for: Callable[[Any], Iterable[Kind]],
    state: Callable[[], Any],
    *,
    name: str = 'scripted',
    clock: Clock | None = None,
  ):
    """Takes the function and the source of its argument.

    Args:
      events_for: from a state to the events of the operator; may be empty.
      state: returns the present state.
      name: of the device in its events.
      clock: the loop's; None is the host's monotonic clock.
    """
    self.name = name
    self._events_for, self._state = events_for, state
    self._clock = clock or MonotonicClock()

  def open(self) -> None:
    """Needs nothing."""

  def poll(self) -> list[Event]:
    """Returns the events of the present state."""
    now = self._clock.now()
    kinds = self._events_for(self._state())
    return [Event(kind, now, self.name) for kind in kinds]

  def close(self) -> None:
    """Needs nothing."""


class ScriptedTeleoperator(Scripted):
  """A script that also drives: by a pose or a delta as function of time."""

  def __init__(
    self,
    script: Sequence[tuple[float, Kind]],
    *,
    pose: Callable[[float], np.ndarray | None] | None = None,
    delta: Callable[[float, np.ndarray, float], np.ndarray] | None = None,
    name: str = 'scripted',
    clock: Clock | None = None,
  ):
    """Takes either `pose(s)` [A] or `delta(s, arm pose [A], period)` [A].

    Raises:
      ValueError: both or neither of them.
    """
    super().__init__(script, name=name, clock=clock)
    if (pose is None) == (delta is None):
      raise ValueError('A teleoperator must give either a pose or a delta.')
    self._pose, self._delta = pose, delta

  def pose(self) -> np.ndarray | None:
    """Returns the absolute target [A] now, or None."""
    return None if self._pose is None else self._pose(self._elapsed())

  def delta(self, pose: np.ndarray, period_s: float) -> np.ndarray | None:
    """Returns the change [A] of the target during `period_s`, or None."""
    if self._delta is None:
      return None
    return self._delta(self._elapsed(), pose, period_s)

  def _elapsed(self) -> float:
    if self._start is None:
      raise DeviceError('A script must be opened before it drives.')
    return self._clock.now() - self._start
