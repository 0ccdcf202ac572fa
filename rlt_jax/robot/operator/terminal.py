"""Keys of the terminal that the loop runs in, also over SSH."""

import atexit
from collections.abc import Mapping
import os
import select
import sys
import termios

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import DeviceError, Event, Kind

# Keys are lower case; with caps lock on they mean the same.
KEYS: Mapping[str, Kind] = {
  't': Kind.TAKEOVER,
  'r': Kind.RELEASE,
  'c': Kind.ENTER_CRITICAL,
  's': Kind.SUCCESS,
  'f': Kind.FAILURE,
  'a': Kind.ABORT,
  'd': Kind.RERECORD,
  'space': Kind.STOP,
  'esc': Kind.STOP,
  'x': Kind.CLEAR,
  'w': Kind.STOW,
  'o': Kind.DISABLE,
}
HELP: Mapping[Kind, str] = {
  Kind.TAKEOVER: 'take over: the arm holds until you are aligned',
  Kind.RELEASE: 'give the arm back; after a hold: run again',
  Kind.ENTER_CRITICAL: 'the critical phase begins',
  Kind.SUCCESS: 'the episode succeeded',
  Kind.FAILURE: 'the episode failed',
  Kind.ABORT: 'end the episode without a label',
  Kind.RERECORD: 'discard the episode and record it again',
  Kind.STOP: 'stop and latch; no substitute for the button',
  Kind.CLEAR: 'clear a stop; then release',
  Kind.STOW: 'stow: move slowly to the stow pose',
  Kind.DISABLE: 'stow, then power off; ends the run',
}
_NAMED = {' ': 'space', '\r': 'enter', '\n': 'enter', '\t': 'tab'}
_ESCAPE = '\x1b'
_MAX_BYTES = 4096  # a poll; what a flood leaves is read by the next ones


def check_keys(keys: Mapping[str, Kind]) -> None:
  """Raises ValueError unless every key can be typed and one of them stops."""
  for key in keys:
    if key in {'esc', *_NAMED.values()}:
      continue
    if len(key) != 1 or not key.isprintable() or key != key.lower():
      raise ValueError(
        'A key must be one lower-case character, or esc, space, enter or '
        f'tab: {key!r}.'
      )
    if key in _NAMED:
      raise ValueError(f'A key must go by its name, {_NAMED[key]!r}: {key!r}.')
  if Kind.STOP not in keys.values():
    raise ValueError(f'One key must stop the arm: {sorted(keys)}.')


def help_lines(keys: Mapping[str, Kind] = KEYS) -> list[str]:
  """Returns a line per key, for the dashboard."""
  return [f'{key:<6} {HELP[kind]}' for key, kind in keys.items()]


def split_keys(text: str) -> tuple[list[str], str]:
  """Returns the keys in what a terminal sent, and the incomplete rest.

  Arrow and function keys arrive as an escape character and more. They are
  dropped as a whole; else the C of "right" would begin a critical phase.
  """
  keys, i = [], 0
  while i < len(text):
    if text[i] != _ESCAPE:
      keys.append(_NAMED.get(text[i], text[i].lower()))
      i += 1
      continue
    if text[i + 1 : i + 2] not in ('', '[', 'O'):
      keys.append('esc')
      i += 1
      continue
    end = i + 2
    if text[i + 1 : i + 2] == '[':
      while end < len(text) and not '@' <= text[end] <= '~':
        end += 1
    if end >= len(text):
      return keys, text[i:]  # the rest is still to come
    i = end + 1
  return keys, ''


class Terminal:
  """Gives an event per key of a terminal; a context manager.

  While open, keys arrive without Enter and are not echoed. Ctrl-C still
  interrupts. Ctrl-Z, Ctrl-S and Ctrl-\\ do nothing, because a loop that is
  suspended or waits to print does not control its arm. The terminal is restored
  by `close`, after an exception and at a normal exit.
  """

  name = 'terminal'

  def __init__(
    self,
    keys: Mapping[str, Kind] = KEYS,
    *,
    fd: int | None = None,
    clock: Clock | None = None,
  ):
    """Takes a key table and a file descriptor, by default standard input.

    Raises:
      ValueError: a key cannot be typed, or none of them stops.
    """
    check_keys(keys)
    self._keys = dict(keys)
    self._fd = fd
    self._clock = clock or MonotonicClock()
    self._before: list | None = None
    self._rest = ''

  @property
  def kinds(self) -> set[Kind]:
    """The kinds of the events that it can give."""
    return set(self._keys.values())

  def open(self) -> None:
    """Switches the terminal to single keys.

    Raises:
      DeviceError: it is a pipe or a file.
    """
    if self._before is not None:
      return
    if self._fd is None:
      self._fd = sys.stdin.fileno()
    if not os.isatty(self._fd):
      raise DeviceError(
        'Terminal keys need a terminal on standard input, not a pipe or a '
        'file: start the loop in a terminal (over SSH, ssh -t), or choose '
        'another device.'
      )
    before = termios.tcgetattr(self._fd)
    mode = termios.tcgetattr(self._fd)
    mode[0] &= ~(termios.IXON | termios.ICRNL)
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 0, 0
    disabled = os.fpathconf(self._fd, 'PC_VDISABLE')
    for key in (termios.VSUSP, termios.VQUIT):
      mode[6][key] = bytes([disabled])
    self._before = before
    atexit.register(self.close)
    # Flush: what was typed before was not meant for the loop.
    termios.tcsetattr(self._fd, termios.TCSAFLUSH, mode)

  def poll(self) -> list[Event]:
    """Returns the events of the keys since the last call.

    Raises:
      DeviceError: the terminal is gone, as when the SSH connection drops.
    """
    if self._before is None:
      raise DeviceError('The terminal must be opened before it is polled.')
    text = self._read()
    if not text and self._rest:
      keys, self._rest = ['esc'], ''  # nothing followed: the escape key
    else:
      keys, rest = split_keys(self._rest + text)
      self._rest = rest[:2]  # whatever follows up to its end says nothing
    now = self._clock.now()
    return [
      Event(self._keys[key], now, self.name)
      for key in keys
      if key in self._keys
    ]

  def close(self) -> None:
    """Puts the terminal back as it was."""
    if self._before is None:
      return
    before, self._before = self._before, None
    atexit.unregister(self.close)
    try:
      termios.tcsetattr(self._fd, termios.TCSANOW, before)
    except termios.error:
      pass  # the terminal itself is gone; there is nothing to restore

  def __enter__(self) -> 'Terminal':
    self.open()
    return self

  def __exit__(self, *_):
    self.close()

  def help_lines(self) -> list[str]:
    """Returns a line per key."""
    return help_lines(self._keys)

  def _read(self) -> str:
    data = b''
    try:
      while len(data) < _MAX_BYTES:
        if not select.select([self._fd], [], [], 0.0)[0]:
          break
        block = os.read(self._fd, _MAX_BYTES - len(data))
        if not block:  # readable but empty: the terminal hung up
          raise OSError('end of file')
        data += block
    except OSError as error:
      raise DeviceError(f'The terminal is gone: {error}.') from None
    return data.decode('utf-8', 'replace')
