"""Between the loop and its journal: rows wait here while the disk is full."""

import collections
from collections.abc import Callable
import threading
from typing import Any

from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import JournalFullError
from rlt_jax.robot.recording.segments import Seen, Step


class WriteBuffer:
  """Writes an episode's parts in order, and late where it must.

  full: what the disk said, in words; '' when nothing waits.
  """

  def __init__(self, log: EpisodeLog):
    self._log = log
    self._waiting: collections.deque[Callable[[], Any]] = collections.deque()
    self._lock = threading.Lock()
    self.full = ''

  def begin(self, **said: Any) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.begin(**said))

  def step(self, step: Step) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.step(step))

  def seen(self, tick: int, seen: Seen) -> None:
    """See `EpisodeLog`."""
    self._put(lambda: self._log.seen(tick, seen))

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
