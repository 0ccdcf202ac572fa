"""A separate process that holds the arm when the loop's heartbeat stops.

The loop writes a byte to a pipe at each control step. If none comes for
`timeout_s`, or the pipe ends without a goodbye because the loop's process
died, the watchdog calls `hold` over its own connection and ends. The next
heartbeat then raises, so that a loop that was only slow does not drive on.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import importlib
import json
import math
import os
import select
import subprocess
import sys
import time
from typing import Any, Protocol

from rlt_jax.robot.arm import Arm, ArmError

_BEAT, _REST, _GOODBYE, _READY = b'.', b'r', b'q', 'ready'
CONNECT = ('start', 'fault')
_RETRY_S = 0.05


class Heartbeat(Protocol):
  """The loop's side of a watchdog; both raise `ArmError` if it has ended.

  beat: the loop runs, and the next beat follows within the timeout. rest: the
  arm holds, and no beat is expected until the next one.
  """

  def beat(self) -> None: ...  # noqa: D102

  def rest(self) -> None: ...  # noqa: D102


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchdogConfig:
  """How the watchdog reaches the arm; passed to its process as JSON.

  factory: 'package.module:function' that returns an `Arm`. arguments: of it.
  timeout_s: longest time without a heartbeat, from the first one on. connect:
  'start': it connects before anything moves. 'fault': it connects only to
  hold, for an arm with one connection at a time; a loop that hangs but keeps
  its connection is then not covered. start_timeout_s: to connect and be ready.
  give_up_s: how long `hold` is tried.
  """

  factory: str
  arguments: Mapping[str, Any]
  timeout_s: float
  connect: str = 'start'
  start_timeout_s: float = 30.0
  give_up_s: float = 10.0

  def __post_init__(self):
    for name in ('timeout_s', 'start_timeout_s', 'give_up_s'):
      if not 0.0 < getattr(self, name) < math.inf:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    module, _, function = self.factory.partition(':')
    if not module or not function:
      raise ValueError(
        f"factory must be 'package.module:function': {self.factory!r}."
      )
    if self.connect not in CONNECT:
      raise ValueError(f'connect must be one of {CONNECT}: {self.connect!r}.')


class Watchdog:
  """Starts the watchdog process and sends it heartbeats.

  A context manager. After it has held the arm, call `start` again. When left
  by an exception it sends no goodbye, and the process holds the arm.
  """

  def __init__(self, config: WatchdogConfig):
    """Starts nothing."""
    self._config = config
    self._process: subprocess.Popen | None = None
    self._failed = False  # a message could not be sent

  @property
  def running(self) -> bool:
    """Whether it was started and has not ended since, by holding the arm."""
    process = self._process
    return process is not None and process.poll() is None and not self._failed

  def start(self) -> None:
    """Starts the process and waits until it is ready.

    Raises:
      ArmError: it could not import, build or connect the arm, or took longer
        than `start_timeout_s`.
    """
    self.close()
    self._failed = False
    record = json.dumps(dataclasses.asdict(self._config))
    # The factory must be found there too, wherever it was found here.
    path = os.pathsep.join(x or os.getcwd() for x in sys.path)
    self._process = subprocess.Popen(
      [sys.executable, '-m', 'rlt_jax.robot.control.watchdog', record],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=os.environ | {'PYTHONPATH': path},
      start_new_session=True,  # out of reach of the terminal's Ctrl-C
    )
    answer = self._answer()
    if answer != _READY:
      self._process.kill()
      self.close()
      raise ArmError(f'The watchdog must be ready: {answer}.')
    os.set_blocking(self._process.stdin.fileno(), False)

  def beat(self) -> None:
    """Sends a heartbeat.

    Raises:
      ArmError: the watchdog does not run: it was not started, it has held the
        arm after a timeout, or it ended by itself.
    """
    self._send(_BEAT)

  def rest(self) -> None:
    """Tells that the arm holds and no heartbeat follows; raises as `beat`."""
    self._send(_REST)

  def close(self, *, goodbye: bool = True) -> None:
    """Ends it; without `goodbye` it holds the arm first."""
    process, self._process = self._process, None
    if process is None:
      return
    if goodbye:
      try:
        os.write(process.stdin.fileno(), _GOODBYE)
      except (BrokenPipeError, BlockingIOError):
        pass  # it has ended, or ends when the pipe does
    process.stdin.close()
    try:
      process.wait(self._config.give_up_s + self._config.start_timeout_s)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
    process.stdout.close()

  def __enter__(self) -> 'Watchdog':
    self.start()
    return self

  def __exit__(self, kind, value, trace) -> None:
    self.close(goodbye=kind is None)

  def _send(self, message: bytes) -> None:
    if self._process is None:
      raise ArmError('The watchdog must be started: it is not.')
    try:
      os.write(self._process.stdin.fileno(), message)
    except BlockingIOError:
      self._failed = True
      raise ArmError(
        'The watchdog must read its pipe: it has stopped reading.'
      ) from None
    except BrokenPipeError:
      self._failed = True
      raise ArmError(
        'The watchdog must run: it has ended, and it held the arm if no '
        f'heartbeat came for {self._config.timeout_s} s. Release the arm to '
        'start it again.'
      ) from None

  def _answer(self) -> str:
    """Returns the first line that the process prints."""
    timeout_s = self._config.start_timeout_s
    if not select.select([self._process.stdout], [], [], timeout_s)[0]:
      return f'it was not ready within {timeout_s} s'
    line = self._process.stdout.readline().decode().strip()
    return line or 'it ended without a message'


def watch(pipe: int, timeout_s: float) -> str:
  """Waits until heartbeats stop; returns why, or '' after a goodbye.

  Args:
    pipe: file descriptor of the heartbeats.
    timeout_s: longest time without one, from the first one on.
  """
  # Before the first heartbeat nothing has moved, so it may take any time.
  timeout, moved = None, False
  while select.select([pipe], [], [], timeout)[0]:
    received = os.read(pipe, 4096)
    if received.endswith(_GOODBYE):
      return ''
    if not received:
      return "the loop's process has ended" if moved else ''
    timeout, moved = None if received.endswith(_REST) else timeout_s, True
  return f'no heartbeat for {timeout_s} s'


def main(record: str) -> int:
  """Entry point of the process.

  Returns:
    0 after a goodbye, 1 after holding the arm, 2 if it could not.
  """
  config = WatchdogConfig(**json.loads(record))
  # A vendor's package may print, and the pipe is for our line only.
  answer = os.dup(1)
  os.dup2(2, 1)
  try:
    arm = _build(config)
    if connected := config.connect == 'start':
      arm.connect()
  except Exception as error:  # any error must reach the loop
    os.write(answer, f'{type(error).__name__}: {error}\n'.encode())
    return 2
  os.write(answer, f'{_READY}\n'.encode())
  why = watch(sys.stdin.fileno(), config.timeout_s)
  # Closed first, so that a loop that wakes up cannot command after the hold.
  os.close(sys.stdin.fileno())
  if not why:
    if connected:
      arm.disconnect()
    return 0
  return _hold(arm, connected, why, config.give_up_s)


def _build(config: WatchdogConfig) -> Arm:
  module, _, function = config.factory.partition(':')
  return getattr(importlib.import_module(module), function)(**config.arguments)


def _hold(arm: Arm, connected: bool, why: str, give_up_s: float) -> int:
  end = time.monotonic() + give_up_s
  while True:
    try:
      if not connected:
        arm.connect()
        connected = True
      arm.hold()
      _say(f'the arm holds: {why}.')
      return 1
    except Exception as error:  # also a vendor's own errors: it tries again
      if time.monotonic() > end:
        _say(
          f'the arm must hold ({why}) and could not within {give_up_s} s: '
          f'{error}. Press the emergency button.'
        )
        return 2
      time.sleep(_RETRY_S)


def _say(text: str) -> None:
  with contextlib.suppress(OSError):  # the terminal may be gone
    print(f'Watchdog: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1]))
