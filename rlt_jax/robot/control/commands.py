"""Who drives the loop: one callable, a policy's queue or a human's device."""

from typing import NamedTuple, Protocol

import numpy as np

from rlt_jax.robot.arm import Reading
from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer


class Command(NamedTuple):
  """What who drives wants.

  command: [A] absolute joint targets. made: s, when that was observed which
  it was computed from. source: 'policy', 'human', ...
  """

  command: np.ndarray
  made: float
  source: str


class Driver(Protocol):
  """Who drives: a policy's chunks, a human, or what chooses between them."""

  def __call__(self, reading: Reading, now: float) -> Command | str:
    """Returns the next command, or why the arm must hold, in words."""

  def clear(self) -> None:
    """Forgets what was planned: the arm has stopped or starts anew."""


class QueueDriver:
  """Drives by a queue of chunks."""

  def __init__(self, queue: ActionChunkBuffer, source: str = 'policy'):
    self._queue = queue
    self._source = source

  def __call__(self, reading: Reading, now: float) -> Command | str:
    """Returns the queue's command for `now`."""
    del reading
    planned = self._queue.next(now)
    if planned is None:
      return 'A first chunk must come before a command: there is none yet.'
    return Command(planned.command, planned.made, self._source)

  def clear(self) -> None:
    """Empties the queue."""
    self._queue.clear()
