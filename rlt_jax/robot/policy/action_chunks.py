"""Buffers the newest action chunk between the policy and the control loop.

The policy takes longer than a control period, and the loop must not wait for
it. Step k of a chunk is meant for `start_time + k * period_s`. A chunk that
arrives late is started at the step that is meant for now: its first step would
send the arm back to where it was at the observation.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np


class ScheduledAction(NamedTuple):
  """The command that a chunk has for now.

  command: float64 [A] absolute joint targets. obs_time: s, timestamp of the
  observation that the chunk was computed from. age_s: now minus obs_time.
  starved: the chunk has no steps left; the command is its last.
  """

  command: np.ndarray
  obs_time: float
  age_s: float
  starved: bool


class _Chunk(NamedTuple):
  """A chunk and its times.

  steps: [C, A]. obs_time: s, of the observation. start_time: s, of the first
  step. first_use: s and step; None until the first step is used.
  """

  steps: np.ndarray
  obs_time: float
  start_time: float
  first_use: tuple[float, int] | None = None


class ActionChunkBuffer:
  """The newest chunk; `put` and `next` may be called from two threads."""

  def __init__(self, action_dim: int, period_s: float):
    """Starts empty.

    Args:
      action_dim: A.
      period_s: seconds between two steps.

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
    """Empties the buffer and its statistics, for a new episode."""
    self.clear()
    with self._lock:
      self._counts = {'chunks': 0, 'starved': 0, 'stale': 0, 'late': 0}
      self._delays: list[float] = []
      self._seam = np.zeros(self._action_dim)

  def clear(self) -> None:
    """Empties the buffer; the last command is dropped too."""
    with self._lock:
      self._chunk: _Chunk | None = None
      self._waiting: _Chunk | None = None
      self._step = 0
      self._last: np.ndarray | None = None

  def put(
    self, chunk: np.ndarray, obs_time: float, start_time: float | None = None
  ) -> None:
    """Stores the newest chunk; the next call of `next` starts it.

    A chunk of an older observation than the one in use is dropped and counted
    as stale. Numbers that are not finite pass: the safety limits refuse them
    and say so.

    Args:
      chunk: [C, A] absolute joint targets, one a period.
      obs_time: s, timestamp of the observation it was computed from.
      start_time: s, of its first step; None: obs_time. Where the arm has waited
        for the chunk it is the present time.

    Raises:
      ValueError: the shape is not [C, A], C is 0, or a time is not finite.
    """
    start_time = obs_time if start_time is None else start_time
    for name, value in (('obs_time', obs_time), ('start_time', start_time)):
      if not math.isfinite(value):
        raise ValueError(f'{name} must be finite: {value}.')
    steps = np.array(chunk, np.float64)
    if steps.ndim != 2 or not len(steps) or steps.shape[1] != self._action_dim:
      raise ValueError(
        f'chunk must have the shape (C, {self._action_dim}): {steps.shape}.'
      )
    with self._lock:
      newest = self._waiting or self._chunk
      if newest is not None and obs_time <= newest.obs_time:
        self._counts['stale'] += 1
      else:
        self._waiting = _Chunk(steps, obs_time, start_time)

  def next(self, now: float) -> ScheduledAction | None:
    """Returns the command for `now`, s; None before the first chunk."""
    with self._lock:
      if self._waiting is not None:
        self._start(self._waiting, now)
        self._waiting = None
      chunk = self._chunk
      if chunk is None or chunk.first_use is None:
        return None
      since, first = chunk.first_use
      # Counted from the first use and not from `obs_time`, whose phase is
      # arbitrary: a late loop step must not use one step twice and skip
      # another.
      step = first + _round((now - since) / self._period_s)
      # Never back, even if the clock goes back.
      self._step = max(self._step, step)
      starved = self._step >= len(chunk.steps)
      self._counts['starved'] += starved
      self._last = chunk.steps[min(self._step, len(chunk.steps) - 1)]
      return ScheduledAction(
        self._last.copy(), chunk.obs_time, now - chunk.obs_time, starved
      )

  def statistics(self) -> dict[str, Any]:
    """Returns the counts since `reset`, for JSON.

    chunks: started. starved: control steps without a step of their own. stale:
    chunks older than the one in use. late: chunks that were over before they
    could start. delay_p50_s, delay_worst_s: from observation to first use; None
    without a chunk. seam_worst: [A] the largest change of an entry from one
    chunk to the next.
    """
    with self._lock:
      delays = self._delays
      return self._counts | {
        'delay_p50_s': float(np.median(delays)) if delays else None,
        'delay_worst_s': max(delays) if delays else None,
        'seam_worst': self._seam.tolist(),
      }

  def _start(self, chunk: _Chunk, now: float) -> None:
    first = max(0, _round((now - chunk.start_time) / self._period_s))
    if first >= len(chunk.steps):
      self._counts['late'] += 1
      return
    self._counts['chunks'] += 1
    self._delays.append(now - chunk.obs_time)
    if self._last is not None:
      # fmax ignores NaN.
      jump = np.abs(chunk.steps[first] - self._last)
      self._seam = np.fmax(self._seam, jump)
    self._chunk = chunk._replace(first_use=(now, first))
    self._step = first


def _round(steps: float) -> int:
  """Returns the nearest integer, halves up, of any float but NaN."""
  return math.floor(min(max(steps, -1e9), 1e9) + 0.5)
