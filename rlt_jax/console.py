"""Output that a run outlives, whatever pipe or terminal is behind it."""

import errno
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)


def outlive() -> None:
  """Lets the process go on when nobody reads its output any more.

  What is printed after that is lost. A stream that is closed from the start is
  opened to nowhere, so that no file of the run gets its number.
  """
  for number in (0, 1, 2):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
  for name in ('stdout', 'stderr'):
    stream = getattr(sys, name)
    if stream is None:
      stream = open(os.devnull, 'w', encoding='utf-8')
    if getattr(stream, 'errors', None) == 'strict':
      stream.reconfigure(errors='replace')  # a terminal may lack a character
    if not isinstance(stream, Enduring):
      setattr(sys, name, Enduring(stream))


class Enduring:
  """A text stream whose writes never fail because of what is behind it."""

  def __init__(self, stream: TextIO):
    self._stream = stream

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """Writes like the stream, or drops what it can't."""
    try:
      return self._stream.write(text)
    except OSError as error:
      self._drop(error)
      return len(text)

  def flush(self) -> None:
    """Flushes like the stream, or drops what it can't."""
    try:
      self._stream.flush()
    except OSError as error:
      self._drop(error)

  def _drop(self, error: OSError) -> None:
    # A full disk may have space again; a reader does not come back. Then the
    # rest of the buffer must go somewhere, or it fails again at the end.
    if error.errno in _GONE:
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._stream.fileno())
      os.close(nowhere)
