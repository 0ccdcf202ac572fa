"""Runs the robot's control loop, VLA server and learner on one machine.

VLA server and learner are restarted when they end, while the arm holds. The
loop is never restarted: an arm must not move again without a request.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from typing import Any, NamedTuple

_MAX_RESTARTS = 3
_END_TIMEOUT_S = 60.0  # to save and end; then it is killed
_POLL_S = 0.5


class Process(NamedTuple):
  """A process to run. nice: added to its niceness; the log is appended to."""

  name: str
  command: Sequence[str]
  log: pathlib.Path
  nice: int = 0

  def start(self) -> subprocess.Popen:
    """Starts it, out of reach of the terminal's Ctrl-C."""
    with self.log.open('ab') as log:
      return subprocess.Popen(
        ['nice', '-n', str(self.nice), *self.command],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
      )


class Supervisor:
  """Keeps processes running; a context manager that ends them."""

  def __init__(self, processes: Sequence[Process]):
    """Starts all of them."""
    self._processes = tuple(processes)
    self._running = [process.start() for process in processes]
    self._restarts = [0] * len(self._running)

  def check(self) -> None:
    """Restarts each process that has ended, at most `_MAX_RESTARTS` times."""
    for i, process in enumerate(self._processes):
      status = self._running[i].poll()
      if status is None or self._restarts[i] >= _MAX_RESTARTS:
        continue
      self._restarts[i] += 1
      print(
        f'The {process.name} ended with {status} (see {process.log}): restart '
        f'{self._restarts[i]} of {_MAX_RESTARTS}.',
        flush=True,
      )
      self._running[i] = process.start()

  def __enter__(self) -> 'Supervisor':
    return self

  def __exit__(self, *_) -> None:
    for process in self._running:
      end(process)


def end(process: subprocess.Popen) -> int:
  """Asks a process to save and end, kills it after a minute; returns status."""
  if process.poll() is None:
    process.terminate()
    try:
      process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
      process.kill()
  return process.wait()


def run_loop(
  command: Sequence[str],
  others: Sequence[Process],
  *,
  env: Mapping[str, str] | None = None,
) -> int:
  """Runs the loop's process, and the others as long as it runs.

  At the end, also after an error, the loop ends first, so that its arm holds.

  Args:
    command: of the loop; its output goes to this terminal.
    others: the other processes, such as server and learner.
    env: variables of the loop, besides those of this process.

  Returns:
    The loop's exit status.

  Raises:
    KeyboardInterrupt: Ctrl-C or SIGTERM; everything has ended by then.
  """
  with _interrupted_by_sigterm(), Supervisor(others) as supervisor:
    loop = subprocess.Popen(
      list(command), env=os.environ | (env or {}), start_new_session=True
    )
    try:
      while loop.poll() is None:
        supervisor.check()
        time.sleep(_POLL_S)
    finally:
      end(loop)
  return loop.returncode


def free_port() -> int:
  """Returns a loopback port that nothing listens on."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
  def interrupt(signum: int, frame: Any) -> None:
    del signum, frame
    raise KeyboardInterrupt  # as for Ctrl-C, so that nothing outlives this

  before = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)
