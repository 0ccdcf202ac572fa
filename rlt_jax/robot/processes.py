"""Runs the robot's control loop, VLA server and learner on one machine.

VLA server and learner are restarted when they end, while the arm holds. The
loop is never restarted: an arm must not move again without a request. All of
them end with this process, also when it is killed.
"""

from collections.abc import Callable, Mapping, Sequence
import ctypes
import functools
import os
import pathlib
import signal
import socket
import subprocess
import time
from typing import NamedTuple

from rlt_jax.signals import StopRequest

_MAX_RESTARTS = 3
_END_TIMEOUT_S = 60.0  # to save and end; then it is killed
_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def environment() -> dict[str, str]:
  """Returns the variables of a process that shares this machine's GPU.

  The first JAX process would take three quarters of the GPU's memory and leave
  the others without; what the user has set stays.
  """
  return {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'} | os.environ


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
        env=environment(),
        start_new_session=True,
        preexec_fn=ending_with_parent(),
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
      if status is None or self._restarts[i] > _MAX_RESTARTS:
        continue
      self._restarts[i] += 1
      again = self._restarts[i] <= _MAX_RESTARTS
      print(
        f'The {process.name} {describe(status)} (see {process.log}'
        f'{_last_line(process.log)}): '
        + (f'restart {self._restarts[i]} of {_MAX_RESTARTS}.' if again
           else 'it is not started again.'),
        flush=True,
      )  # fmt: skip
      if again:
        self._running[i] = process.start()

  def __enter__(self) -> 'Supervisor':
    return self

  def __exit__(self, *_) -> None:
    for process in self._running:
      if process.poll() is None:
        process.terminate()  # all at once; then each is waited for
    for process in self._running:
      end(process)


def ending_with_parent() -> Callable[[], None]:
  """Returns a `preexec_fn`: the kernel sends SIGTERM when the parent dies.

  Call it in the main thread: the death of the thread that starts a process
  counts as the parent's.
  """
  libc = ctypes.CDLL(None)  # loaded before the fork
  return functools.partial(_end_with, os.getpid(), libc)


def _end_with(parent: int, libc: ctypes.CDLL) -> None:
  libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
  if os.getppid() != parent:  # it has died before the call
    os.kill(os.getpid(), signal.SIGTERM)


def describe(status: int) -> str:
  """Returns how a process ended: 'was killed by SIGKILL', 'ended with 1'."""
  if status < 0:
    return f'was killed by {signal.Signals(-status).name}'
  return f'ended with {status}'


def _last_line(log: pathlib.Path) -> str:
  """Returns ', which ends with: ...', or '' for an empty log."""
  with log.open('rb') as file:
    file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
    lines = file.read().decode('utf-8', 'replace').split('\n')
  last = next((x.strip() for x in reversed(lines) if x.strip()), '')
  return f', which ends with: {last[:200]}' if last else ''


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
  Ctrl-C, SIGTERM and SIGHUP end it; what comes after the first changes nothing.

  Args:
    command: of the loop; its output goes to this terminal.
    others: the other processes, such as server and learner.
    env: variables of the loop, besides those of `environment`.

  Returns:
    The loop's exit status.

  Raises:
    Stopped: a signal; everything has ended by then.
  """
  with StopRequest('the loop first, so that its arm holds') as stop:
    with Supervisor(others) as supervisor:
      loop = subprocess.Popen(
        list(command),
        env=environment() | (env or {}),
        start_new_session=True,
        preexec_fn=ending_with_parent(),
      )
      try:
        while loop.poll() is None and not stop.requested:
          supervisor.check()
          time.sleep(_POLL_S)
      finally:
        end(loop)
    stop.raise_if_stopped()
  return loop.returncode


def free_port() -> int:
  """Returns a loopback port that nothing listens on."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]
