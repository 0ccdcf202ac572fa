"""Lines that a training prints: phases that stay, and one of progress."""

from collections.abc import Callable
import math
import os
import shutil
import sys
import time
from typing import TextIO

_INTERVAL_S = 30.0  # in a log file, where lines pile up
_TERMINAL_INTERVAL_S = 0.1  # as much as an eye follows


class ProgressLine:
  """One line of progress, and lines that stay above it.

  On a terminal the line overwrites itself; in a log file it is printed every 30
  seconds.
  """

  def __init__(
    self,
    stream: TextIO | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._stream = stream if stream is not None else sys.stdout
    self._overwrite = (
      self._stream.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'
    )
    self._interval_s = _TERMINAL_INTERVAL_S if self._overwrite else _INTERVAL_S
    self._clock = clock
    self._last = -math.inf
    self._open = False  # whether the cursor stands in a line of progress

  def show(self, text: str) -> None:
    """Shows progress, unless the last line is too recent."""
    now = self._clock()
    if now - self._last < self._interval_s:
      return
    self._last = now
    if self._overwrite:
      # A line that wraps could not be overwritten.
      text = text[: shutil.get_terminal_size().columns - 1]
      self._stream.write(f'\r{text}\x1b[K')
      self._open = True
    else:
      self._stream.write(text + '\n')
    self._stream.flush()

  def say(self, text: str) -> None:
    """Prints a line that stays."""
    if self._open:
      self._stream.write('\n')
      self._open = False
    self._stream.write(text + '\n')
    self._stream.flush()
