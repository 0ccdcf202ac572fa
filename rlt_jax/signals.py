"""Ctrl-C, SIGTERM and SIGHUP end a command in one way, without losing work.

A command runs within `as_interrupt`: each of the three raises `Stopped`. A loop
that must complete its step first runs within a `StopRequest`, which remembers
the signal until the loop asks. A signal that the process ignored before stays
ignored, which is how `nohup` and a shell's background jobs ask for it.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import sys
import threading
from typing import Any, NoReturn, ParamSpec, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_P = ParamSpec('_P')
_R = TypeVar('_R')
_POLL_S = 0.1
_calls: list[threading.Thread] = []  # of `StopRequest.call`, given up
# Signals that `as_interrupt` has raised. Python drops what is raised within a
# callback, for example of its garbage collector.
_raised: list[int] = []


class Stopped(KeyboardInterrupt):
  """A signal asked for the end. signum: which one."""

  def __init__(self, signum: int = signal.SIGINT):
    super().__init__(signal.Signals(signum).name)
    self.signum = signum


@contextlib.contextmanager
def as_interrupt() -> Iterator[None]:
  """Raises `Stopped` at once when a signal comes; for the main thread.

  If that was lost, the next `StopRequest` knows of it, or the end of the block
  raises it.
  """

  def stop(signum: int, frame: Any) -> None:
    del frame
    _raised.append(signum)
    raise Stopped(signum)

  try:
    with _handled_by(stop):
      yield
    if _raised:
      raise Stopped(_raised[0])
  finally:
    _raised.clear()


class StopRequest:
  """Remembers a signal until the work in hand is complete.

    with StopRequest('after this step') as stop:
      for step in range(steps):
        state = update(state)
        if stop.requested:
          save(state)
        stop.raise_if_stopped()

  Further signals change nothing, so that none of them ends the saving. Outside
  of the main thread it remembers nothing.
  """

  def __init__(self, when: str):
    """Remembers nothing yet.

    Args:
      when: the end will come, for the line that is printed on a signal.
    """
    self._when = when
    self._signum: int | None = None
    self._handled = contextlib.ExitStack()

  def __enter__(self) -> 'StopRequest':
    self._handled.enter_context(_handled_by(self._request))
    if _raised and self._signum is None:
      self._signum = _raised[0]
    return self

  def __exit__(self, *unused_exception) -> None:
    self._handled.close()

  @property
  def requested(self) -> bool:
    """Returns whether a signal came."""
    return self._signum is not None

  def raise_if_stopped(self) -> None:
    """Raises `Stopped` if a signal came."""
    if self._signum is not None:
      raise Stopped(self._signum)

  def call(
    self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
  ) -> _R:
    """Returns function(...), which is given up when a signal comes.

    It runs in a thread of its own: a compilation cannot be interrupted, but
    nobody has to wait for it. A call that is given up goes on until the process
    ends, see `leave`, so it must change nothing.

    Raises:
      Stopped: a signal came; also whatever the function raises.
    """
    self.raise_if_stopped()
    result: list[_R] = []
    error: list[BaseException] = []

    def run() -> None:
      try:
        result.append(function(*args, **kwargs))
      except BaseException as raised:
        error.append(raised)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
      thread.join(_POLL_S)
      if self.requested and thread.is_alive():
        _calls.append(thread)
        self.raise_if_stopped()
    if error:
      raise error[0]
    return result[0]

  def _request(self, signum: int, frame: Any) -> None:
    del frame
    name = signal.Signals(signum).name
    if self._signum is None:
      self._signum = signum
      text = f'{name}: stopping {self._when}.'
    else:
      text = f'{name}: still stopping. Ctrl-\\ or SIGQUIT would save nothing.'
    # Not by `print`, which the signal may have interrupted.
    with contextlib.suppress(OSError):
      os.write(2, f'\n{text}\n'.encode())


def call(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
  """Returns function(...), which is given up at once when a signal comes.

  For what compiles outside of a loop; see `StopRequest.call`.

  Raises:
    Stopped: a signal came; also whatever the function raises.
  """
  with StopRequest('at once') as stop:
    return stop.call(function, *args, **kwargs)


def leave(stopped: KeyboardInterrupt) -> NoReturn:
  """Ends the process with the status of the signal, 128 + its number.

  Whatever was given up by `StopRequest.call` ends with it.
  """
  status = 128 + getattr(stopped, 'signum', signal.SIGINT)
  if any(thread.is_alive() for thread in _calls):
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
    # An orderly end would wait for a compilation or crash in it.
    os._exit(status)
  raise SystemExit(status)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
  """Handles the signals that are not ignored; restores what was before."""
  before = {}
  if threading.current_thread() is threading.main_thread():
    for signum in SIGNALS:
      if signal.getsignal(signum) != signal.SIG_IGN:
        before[signum] = signal.signal(signum, handler)
  try:
    yield
  finally:
    for signum, old in before.items():
      signal.signal(signum, old)
