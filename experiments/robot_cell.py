"""Runs a whole cell on this machine: VLA server, learner, loop and twin.

  python -m experiments.robot_cell --workdir=runs/robot --minutes=10

It starts from nothing: an untrained actor is exported first. A server or
learner that dies is started again while the loop's arm holds. Whatever ends
the run, Ctrl-C too, ends all of it: the loop first, so that its arm holds.
Logs are in WORKDIR/logs.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

from absl import app, flags

from rlt_jax.robot.policy import bundle as bundle_lib

_WORKDIR = flags.DEFINE_string('workdir', None, 'New folder.', required=True)
_MINUTES = flags.DEFINE_float('minutes', 10.0, 'Robot time of practice.')
_BASE = flags.DEFINE_integer(
  'num_base_episodes', 10, 'Of the VLA alone, before.'
)
_FINAL = flags.DEFINE_integer('num_final_episodes', 10, 'Of the mean, after.')
_WARMUP = flags.DEFINE_integer('vla_warmup_steps', 6_000, 'Driven by the VLA.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of networks, exploration and starts.')
_DELAY = flags.DEFINE_integer(
  'delay', 4, "Control steps for the VLA's answer, without a bundle."
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder; empty makes a fresh one.')
_LEARNER = flags.DEFINE_bool('learner', True, 'False: the loop alone, to time.')
_PORT = flags.DEFINE_integer('port', 0, "The VLA's; 0 takes a free one.")
_RESTARTS = 3
_LEAVE_S = 60.0  # to save and go


class Part(NamedTuple):
  """A process of the cell: its name, command and log."""

  name: str
  command: list[str]
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


class Helpers:
  """The processes beside the loop; a context manager."""

  def __init__(self, parts: list[Part]):
    self._parts = parts
    self._running = [part.start() for part in parts]
    self._restarts = [0] * len(parts)

  def watch(self) -> None:
    """Starts again what has died, a few times."""
    for i, part in enumerate(self._parts):
      status = self._running[i].poll()
      if status is None or self._restarts[i] >= _RESTARTS:
        continue
      self._restarts[i] += 1
      print(
        f'The {part.name} ended with {status} (see {part.log}): start '
        f'{self._restarts[i]} of {_RESTARTS}.',
        flush=True,
      )
      self._running[i] = part.start()

  def __enter__(self) -> 'Helpers':
    return self

  def __exit__(self, *_) -> None:
    for process in self._running:
      end(process)


def end(process: subprocess.Popen) -> int:
  """Asks a process to save and end; returns its status."""
  if process.poll() is None:
    process.terminate()
    try:
      process.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
      process.kill()
  return process.wait()


def free_port() -> int:
  """Returns a port of loopback that nothing listens on."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def module(name: str, *arguments: str) -> list[str]:
  """Returns the command that runs an experiment."""
  return [sys.executable, '-m', f'experiments.{name}', *arguments]


def run(workdir: pathlib.Path) -> int:
  """Runs the cell; returns the loop's status."""
  bundle, logs = _BUNDLE.value or str(workdir / 'bundle'), workdir / 'logs'
  logs.mkdir()
  if not _BUNDLE.value:
    subprocess.run(
      module('export_policy', '--fresh', f'--out={bundle}',
             f'--set=seed={_SEED.value}',
             f'--set=inference_delay={_DELAY.value}'),
      check=True,
    )  # fmt: skip
  spec, _ = bundle_lib.load(bundle)
  port = _PORT.value or free_port()
  parts = [Part('VLA', module('serve_vla', f'--port={port}'), logs / 'vla.log')]
  learner = module(
    'learn_beside', f'--journal={workdir / "journal"}', f'--bundle={bundle}',
    f'--workdir={workdir / "learner"}', f'--set=seed={_SEED.value}',
    f'--set=inference_delay={spec.inference_delay}',
  )  # fmt: skip
  if _LEARNER.value:
    # The loop comes first: it has deadlines, learning has none.
    parts.append(Part('learner', learner, logs / 'learner.log', nice=19))
  loop = module(
    'robot', '--station=sim', f'--workdir={workdir}', f'--bundle={bundle}',
    f'--vla=ws://127.0.0.1:{port}', '--wait_s=300', '--resume_after_s=1',
    f'--minutes={_MINUTES.value}', f'--num_base_episodes={_BASE.value}',
    f'--num_final_episodes={_FINAL.value}',
    f'--vla_warmup_steps={_WARMUP.value}',
    f'--seed={_SEED.value}',
  )  # fmt: skip
  (workdir / 'journal').mkdir()
  with Helpers(parts) as helpers:
    process = subprocess.Popen(
      loop,
      env=os.environ | {'OMP_NUM_THREADS': '1'},
      start_new_session=True,
    )
    try:
      while process.poll() is None:
        helpers.watch()
        time.sleep(0.5)
    finally:
      end(process)
  return process.returncode


def main(argv: list[str]) -> None:
  """Runs until the time is spent or somebody stops it."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  workdir = pathlib.Path(_WORKDIR.value)
  if workdir.exists():
    raise SystemExit(f'error: workdir must be new: {workdir}.')
  workdir.mkdir(parents=True)

  def leave(signum, frame):
    del signum, frame
    raise KeyboardInterrupt  # as for Ctrl-C, so that nothing outlives this

  signal.signal(signal.SIGTERM, leave)
  try:
    status = run(workdir)
  except subprocess.CalledProcessError as error:
    raise SystemExit(f'error: {error}') from None
  except KeyboardInterrupt:
    raise SystemExit('\nStopped: the loop and all beside it have ended.') from (
      None
    )
  raise SystemExit(status)


if __name__ == '__main__':
  app.run(main)
