"""Ctrl-C during a run, taken where a whole state can be saved."""

import signal
import threading
from typing import Any


class StopRequest:
  """A first Ctrl-C, remembered until `raise_if_stopped` is called."""

  def __init__(self):
    self._requested = False

  def install_handler(self) -> None:
    """Handles Ctrl-C from now on, if this is the main thread."""
    if threading.current_thread() is threading.main_thread():
      signal.signal(signal.SIGINT, self._request)

  def raise_if_stopped(self) -> None:
    """Raises KeyboardInterrupt if Ctrl-C was pressed."""
    if self._requested:
      raise KeyboardInterrupt

  def _request(self, signum: int, frame: Any) -> None:
    del signum, frame
    self.raise_if_stopped()
    self._requested = True
    print('\nStopping after this round; Ctrl-C again stops now.', flush=True)
