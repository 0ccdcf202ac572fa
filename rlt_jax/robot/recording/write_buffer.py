"""Keeps the rows of the control loop while the disk of its journal is full."""

import collections
from collections.abc import Callable
import threading
from typing import Any

from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import JournalFullError
from rlt_jax.robot.recording.segments import Step
from rlt_jax.types import Features


class WriteBuffer:
  """An `EpisodeLog` whose calls wait, in their order, until there is room.

  full: the error of the full disk; '' when nothing waits.
  """

  def __init__(self, log: EpisodeLog):
    self._log = log
    self._waiting: collections.deque[Callable[[], Any]] = collections.deque()
    self._lock = threading.Lock()
    self.full = ''

  def begin(self, **meta: Any) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.begin(**meta))

  def step(self, recording: int, step: Step) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.step(recording, step))

  def wait(self) -> None:
    """See `EpisodeLog`."""
    self._put(self._log.wait)

  def features(
    self, recording: int, step: int, features: Features, *, late: bool
  ) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.features(recording, step, features, late=late))

  def end(self, outcome: str) -> None:
    """See `EpisodeLog`; on the disk once nothing waits."""
    self._put(lambda: self._log.end(outcome))

  def flush(self) -> bool:
    """Writes what waits; returns whether all of it is written."""
    with self._lock:
      while self._waiting:
        try:
          self._waiting[0]()
        except JournalFullError as error:
          self.full = str(error)
          return False
        self._waiting.popleft()
      self.full = ''
      return True

  def _put(self, call: Callable[[], Any]) -> None:
    self._waiting.append(call)
    self.flush()
