"""A process of its own that holds the arm when the loop falls silent.

The loop writes a byte down a pipe each tick. When none comes for `timeout_s`,
or the pipe ends without a goodbye because the loop's process died, the
watchdog calls `hold` over its own connection and ends; the next heartbeat
then raises, so that a loop that was only slow does not drive on unasked.
"""

from collections.abc import Mapping
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
_CONNECT = ('start', 'fault')
_RETRY_S = 0.05


class Heartbeat(Protocol):
  """What the loop tells its watchdog; both raise `ArmError` if it has ended.

  beat: the loop lives, and the next beat follows within the timeout. rest: the
  arm holds; there may be silence until the next beat.
  """

  def beat(self) -> None: ...  # noqa: D102

  def rest(self) -> None: ...  # noqa: D102


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchdogConfig:
  """How the watchdog reaches the arm; all of it crosses as JSON.

  factory: 'package.module:function' that returns an `Arm`. arguments: of it.
  timeout_s: longest silence, counted from the first heartbeat. connect:
  'start', which finds out before anything moves that it can, or 'fault' for an
  arm that takes one connection at a time: then only a dead loop is covered,
  not a hanging one. give_up_s: how long `hold` is tried.
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
    if self.connect not in _CONNECT:
      raise ValueError(f'connect must be one of {_CONNECT}: {self.connect!r}.')


class Watchdog:
  """The loop's end. `with` starts and closes it; `start` again after it fired.

  Left by an exception, it says no goodbye, and the arm is held once more.
  """

  def __init__(self, config: WatchdogConfig):
    """Starts nothing."""
    self._config = config
    self._process: subprocess.Popen | None = None

  def start(self) -> None:
    """Starts the process and waits until it can do its work.

    Raises:
      ArmError: it could not import, build or connect the arm, or took longer
        than `start_timeout_s`.
    """
    self.close()
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
    """Says that the loop lives.

    Raises:
      ArmError: there is no watchdog (any more): it was not started, it has
        held the arm after a silence, or it ended by itself.
    """
    self._say(_BEAT)

  def rest(self) -> None:
    """Says that the arm holds and no beat is due; raises what `beat` does."""
    self._say(_REST)

  def close(self, *, goodbye: bool = True) -> None:
    """Ends it; without `goodbye` it holds the arm first."""
    process, self._process = self._process, None
    if process is None:
      return
    if goodbye:
      try:
        os.write(process.stdin.fileno(), _GOODBYE)
      except (BrokenPipeError, BlockingIOError):
        pass  # it has ended, or ends with the pipe
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

  def _say(self, word: bytes) -> None:
    if self._process is None:
      raise ArmError('The watchdog must be started: it is not.')
    try:
      os.write(self._process.stdin.fileno(), word)
    except BlockingIOError:
      raise ArmError('The watchdog must read: it does no more.') from None
    except BrokenPipeError:
      raise ArmError(
        'The watchdog must run: it has ended, and if it heard nothing for '
        f'{self._config.timeout_s} s it held the arm. Start it again.'
      ) from None

  def _answer(self) -> str:
    """Returns the process's first line."""
    timeout_s = self._config.start_timeout_s
    if not select.select([self._process.stdout], [], [], timeout_s)[0]:
      return f'it said nothing within {timeout_s} s'
    line = self._process.stdout.readline().decode().strip()
    return line or 'it ended without a word'


def watch(pipe: int, timeout_s: float) -> str:
  """Returns why the arm must be held; '' after a goodbye.

  Args:
    pipe: file descriptor that heartbeats come from.
    timeout_s: longest silence, from the first heartbeat on.
  """
  waits, moved = None, False  # nothing has before the first heartbeat
  while select.select([pipe], [], [], waits)[0]:
    heard = os.read(pipe, 4096)
    if heard.endswith(_GOODBYE):
      return ''
    if not heard:
      return "the loop's process has ended" if moved else ''
    waits, moved = None if heard.endswith(_REST) else timeout_s, True
  return f'no heartbeat for {timeout_s} s'


def main(record: str) -> int:
  """Is the process: 0 after a goodbye, 1 when it held, 2 when it could not."""
  config = WatchdogConfig(**json.loads(record))
  # A vendor's package may print; the pipe is for one line alone.
  answer = os.dup(1)
  os.dup2(2, 1)
  try:
    arm = _build(config)
    if connected := config.connect == 'start':
      arm.connect()
  except Exception as error:  # whatever it is, the loop must hear of it
    os.write(answer, f'{type(error).__name__}: {error}\n'.encode())
    return 2
  os.write(answer, f'{_READY}\n'.encode())
  why = watch(sys.stdin.fileno(), config.timeout_s)
  # First, so that no command of a loop that wakes up follows the hold.
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
      print(f'Watchdog: the arm holds: {why}.', file=sys.stderr, flush=True)
      return 1
    except Exception as error:  # a vendor's own, too: it must try again
      if time.monotonic() > end:
        print(
          f'Watchdog: the arm must hold ({why}) and could not within '
          f'{give_up_s} s: {error}. Press the emergency button.',
          file=sys.stderr,
          flush=True,
        )
        return 2
      time.sleep(_RETRY_S)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1]))
