"""Returns, advantages, and which frames are marked as good; NumPy alone.

The letter F counts frames of whole episodes, in order.
"""

from typing import NamedTuple

import numpy as np


class Frames(NamedTuple):
  """What is known of each frame in hindsight, all [F].

  episode: int. steps_left: int, control steps to the end of the episode.
  succeeded: bool, of the episode. human: bool, a person drove.
  """

  episode: np.ndarray
  steps_left: np.ndarray
  succeeded: np.ndarray
  human: np.ndarray


def returns(frames: Frames, time_limit: int) -> np.ndarray:
  """Returns the Monte-Carlo return of each frame, [F] in [-1, 0].

  The reward is -1 a step and, where the episode fails or its time is out, minus
  the time limit at the end; the sum is divided by twice the time limit. So
  successes are in [-0.5, 0] and failures in [-1, -0.5].

  Args:
    frames: [F].
    time_limit: control steps of an episode.
  """
  failed = ~frames.succeeded * time_limit
  return -(frames.steps_left + failed) / (2.0 * time_limit)


def advantages(
  frames: Frames,
  values: np.ndarray,
  *,
  time_limit: int,
  ahead: int,
  stride: int,
) -> np.ndarray:
  """Returns how much better the next steps were than expected, [F].

  A_t = r_t + ... + r_{t+N-1} + V(o_{t+N}) - V(o_t). Of an episode that ends
  before, it is its return minus V(o_t).

  Args:
    frames: [F].
    values: [F] V, in the unit of `returns`.
    time_limit: control steps of an episode.
    ahead: N, control steps.
    stride: control steps between two frames; divides N.
  """
  rows, total = ahead // stride, len(values)
  later = np.minimum(np.arange(total) + rows, total - 1)
  inside = (np.arange(total) + rows < total) & (
    frames.episode[later] == frames.episode
  )
  bootstrapped = -ahead / (2.0 * time_limit) + values[later]
  found = np.where(inside, bootstrapped, returns(frames, time_limit))
  return found - values


def choose_positive(
  frames: Frames, advantage: np.ndarray, share: float
) -> np.ndarray:
  """Returns which frames are good, bool [F].

  Args:
    frames: [F]; those that a person drove are good.
    advantage: [F].
    share: of the other frames, those with the largest advantage.
  """
  own = ~frames.human
  if not own.any():
    return frames.human.copy()
  threshold = np.quantile(advantage[own], 1.0 - share)
  return frames.human | (advantage > threshold)
