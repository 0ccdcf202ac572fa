"""The queue between an inference that takes its time and a loop that cannot.

A chunk's step k is meant for `made + k * period_s`, where `made` is when that
was observed which the chunk was computed from, unless the arm has waited for
it. A chunk that arrives late is
begun at the step whose time it is: begun at its first step, it would send the
arm back to where it was at the observation.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np


class ScheduledAction(NamedTuple):
  """What the queue wants now.

  command: float64 [A]. made: s, when that was observed which it was computed
  from. age_s: now minus made. starved: the chunk has run dry; the command is
  its last.
  """

  command: np.ndarray
  made: float
  age_s: float
  starved: bool


class _Chunk(NamedTuple):
  """steps: [C, A]. made, due: s, of its first step. begun: s and step, None
  until the first is used."""

  steps: np.ndarray
  made: float
  due: float
  begun: tuple[float, int] | None = None


class ActionChunkBuffer:
  """The newest chunk; `put` and `next` may be called from two threads."""

  def __init__(self, action_dim: int, period_s: float):
    """Takes A and the seconds between two steps.

    Raises:
      ValueError: either is not positive.
    """
    for name, value in (('action_dim', action_dim), ('period_s', period_s)):
      if not value > 0:
        raise ValueError(f'{name} must be positive: {value}.')
    self._action_dim = action_dim
    self._period_s = period_s
    self._lock = threading.Lock()
    self.reset()

  def reset(self) -> None:
    """Empties the queue and counts from zero, for a new episode."""
    self.clear()
    with self._lock:
      self._counts = {'chunks': 0, 'starved': 0, 'stale': 0, 'late': 0}
      self._delays: list[float] = []
      self._seam = np.zeros(self._action_dim)

  def clear(self) -> None:
    """Empties the queue; the last command is forgotten too."""
    with self._lock:
      self._chunk: _Chunk | None = None
      self._waiting: _Chunk | None = None
      self._step = 0
      self._last: np.ndarray | None = None

  def put(
    self, chunk: np.ndarray, made: float, due: float | None = None
  ) -> None:
    """Gives the newest chunk; the next `next` begins it.

    A chunk made before the one in use is dropped and counted as stale. Numbers
    that are not finite are let through: the guard answers them, and says so.

    Args:
      chunk: [C, A] absolute joint targets, one a period.
      made: s, when that was observed which it was computed from.
      due: s, when its first step is; None is `made`. An arm that has waited
        for the chunk has it begin now.

    Raises:
      ValueError: the shape is not [C, A], C is 0, or a time is not finite.
    """
    due = made if due is None else due
    for name, value in (('made', made), ('due', due)):
      if not math.isfinite(value):
        raise ValueError(f'{name} must be finite: {value}.')
    steps = np.array(chunk, np.float64)
    if steps.ndim != 2 or not len(steps) or steps.shape[1] != self._action_dim:
      raise ValueError(
        f'chunk must have the shape (C, {self._action_dim}): {steps.shape}.'
      )
    with self._lock:
      newest = self._waiting or self._chunk
      if newest is not None and made <= newest.made:
        self._counts['stale'] += 1
      else:
        self._waiting = _Chunk(steps, made, due)

  def next(self, now: float) -> ScheduledAction | None:
    """Returns what to do at `now`, s; None before the first chunk."""
    with self._lock:
      if self._waiting is not None:
        self._begin(self._waiting, now)
        self._waiting = None
      chunk = self._chunk
      if chunk is None or chunk.begun is None:
        return None
      since, first = chunk.begun
      # From the first use and not from `made`, whose phase is arbitrary: a
      # late tick must not use one step twice and leave out another.
      step = first + _round((now - since) / self._period_s)
      # Never back, wherever the clock goes.
      self._step = max(self._step, step)
      starved = self._step >= len(chunk.steps)
      self._counts['starved'] += starved
      self._last = chunk.steps[min(self._step, len(chunk.steps) - 1)]
      return ScheduledAction(
        self._last.copy(), chunk.made, now - chunk.made, starved
      )

  def record(self) -> dict[str, Any]:
    """Returns the counts since `reset`, for JSON.

    chunks: begun. starved: ticks without a step of their own. stale: chunks
    older than the one in use. late: chunks over before they could begin.
    delay_p50_s, delay_worst_s: from observation to first use; None without a
    chunk. seam_worst: [A] the largest change of an entry where one chunk took
    over from another.
    """
    with self._lock:
      delays = self._delays
      return self._counts | {
        'delay_p50_s': float(np.median(delays)) if delays else None,
        'delay_worst_s': max(delays) if delays else None,
        'seam_worst': self._seam.tolist(),
      }

  def _begin(self, chunk: _Chunk, now: float) -> None:
    first = max(0, _round((now - chunk.due) / self._period_s))
    if first >= len(chunk.steps):
      self._counts['late'] += 1
      return
    self._counts['chunks'] += 1
    self._delays.append(now - chunk.made)
    if self._last is not None:
      # fmax: what is not finite is no size.
      jump = np.abs(chunk.steps[first] - self._last)
      self._seam = np.fmax(self._seam, jump)
    self._chunk = chunk._replace(begun=(now, first))
    self._step = first


def _round(steps: float) -> int:
  """Returns the nearest integer, halves up; of any float that is a number."""
  return math.floor(min(max(steps, -1e9), 1e9) + 0.5)
