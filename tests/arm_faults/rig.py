"""The real loop in a terminal of its own, on a fake arm that keeps a log."""

import contextlib
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import threading
import time

from rlt_jax.robot import processes
from rlt_jax.robot.recording import episodes, journal, journal_files
from tests.robot.fakes import BUNDLE
from tests.robot.test_runtime import write_bundle
from tests.robot.test_station import write as write_station

_ROOT = pathlib.Path(__file__).parents[2]
_LONG_S = 180.0  # a busy machine may take so long, for a report
# Variable that marks what a rig has started, with all that this has started.
STATION = 'ARM_FAULTS_STATION'


def wait_for(condition, what, timeout_s=_LONG_S):
  """Returns the first true value of a condition."""
  end = time.monotonic() + timeout_s
  while not (found := condition()):
    assert time.monotonic() < end, f'{what} did not happen in {timeout_s:.0f} s'
    time.sleep(0.02)
  return found


class Server:
  """The VLA server in a process of its own; `options` are of `parts.serve`."""

  def __init__(self, **options):
    self.port = processes.free_port()
    self._options = [f'{key}={value}' for key, value in options.items()]
    self.process = None
    self.start()

  def start(self):
    module = [sys.executable, '-m', 'tests.arm_faults.parts']
    self.process = subprocess.Popen(
      [*module, str(self.port), *self._options],
      cwd=_ROOT,
      stderr=subprocess.DEVNULL,
    )

  def kill(self):
    self.process.kill()
    self.process.wait()


class Rig:
  """A station, a folder for its run, and the loop's process with a terminal.

  output: what the loop has printed so far.
  """

  def __init__(self, folder, port, **station):
    folder.mkdir(parents=True, exist_ok=True)
    self.port = port
    self.folder, self.workdir = folder, folder / 'run'
    self.arm_log = folder / 'arm.log'
    if not (folder / 'bundle').exists():
      names = station.get('camera_names', BUNDLE.cameras)
      write_bundle(folder / 'bundle', cameras=tuple(names))
    leader = {'kind': 'leader', 'arguments': {'arm': 'fake'}}
    fields = {
      'arm': 'tests.arm_faults.parts:make_arm',
      'arm_arguments': {'log': str(self.arm_log)},
      'cameras': 'tests.arm_faults.parts:make_cameras',
      'vla': f'ws://127.0.0.1:{port}',
      'operator': 'group',
      'operator_arguments': {'devices': [{'kind': 'terminal'}, leader]},
      # The leader rests: it is aligned wherever the arm is.
      'align_tolerance': [3.0] * 3,
      'keep_tolerance': [3.0] * 3,
      'time_limit': 100_000,
      'max_camera_age_s': 1.0,
      'frozen_camera_timeout_s': None,
      'watchdog_timeout_s': 10.0,
    } | station
    name = f'faults{os.getpid()}-{folder.name}'
    self.station = write_station(folder, name=name, **fields)
    self.process, self.output, self._terminal = None, '', None

  def start(self, *flags, minutes=1000.0, term='dumb'):
    """Starts the loop; `flags` are of `experiments.robot`."""
    self._launch(
      'tests.arm_faults.loop', f'--station={self.station}', '--norealtime',
      *self._plan(minutes), *flags, term=term,
    )  # fmt: skip

  def _plan(self, minutes):
    return [
      f'--workdir={self.workdir}', f'--minutes={minutes}',
      '--num_base_episodes=0', '--num_final_episodes=0',
      '--vla_warmup_steps=0',
    ]  # fmt: skip

  def _launch(self, module, *flags, term):
    self._terminal, other = pty.openpty()
    self.process = subprocess.Popen(
      [sys.executable, '-m', module, *flags],
      cwd=_ROOT,
      start_new_session=True,
      preexec_fn=lambda: os.login_tty(other),
      pass_fds=[other],
      env=os.environ
      | {'OMP_NUM_THREADS': '1', 'TERM': term, STATION: str(self.station)},
    )
    os.close(other)
    self._reader = threading.Thread(target=self._read, args=[self._terminal])
    self._reader.start()

  def press(self, key):
    os.write(self._terminal, key.encode())

  def hang_up(self):
    """Closes the terminal, as a lost SSH connection does."""
    terminal, self._terminal = self._terminal, None
    self._reader.join()  # a read under way would keep it open
    os.close(terminal)

  def signal(self, number):
    self.process.send_signal(number)

  def wait(self, timeout_s=_LONG_S):
    """Returns the exit status."""
    status = self.process.wait(timeout_s)
    if self._terminal is not None:
      self.hang_up()
    return status

  def stop(self):
    """Ends what is left."""
    if self.process is not None and self.process.poll() is None:
      self.process.kill()
      self.process.wait()
    for pid in self.running():
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if self._terminal is not None:
      self.hang_up()

  def running(self, name=''):
    """Returns the processes of this rig whose command has a name."""
    mark = f'{STATION}={self.station}'.encode()
    found = []
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
      with contextlib.suppress(OSError):  # it has ended
        marked = mark in (folder / 'environ').read_bytes().split(b'\0')
        if marked and name.encode() in (folder / 'cmdline').read_bytes():
          found.append(int(folder.name))
    return found

  def wait_until_moving(self):
    """Returns when the loop sends commands that were not sent before."""
    before = len(self.calls())
    self._wait_for_call(
      lambda calls: any(x[2] == 'command' for x in calls[before:])
    )

  def wait_until_in_motion(self):
    """Returns when the last that the loop has sent is a command."""
    self._wait_for_call(lambda calls: calls and calls[-1][2] == 'command')

  def _wait_for_call(self, condition):
    def check():
      if self.process.poll() is not None:
        raise AssertionError(f'The loop has ended: {self.output[-2000:]}')
      return condition(self.calls())

    wait_for(check, 'a command')

  def calls(self):
    """Returns (time, pid, name) of the arm's calls, repetitions left out."""
    text = self.arm_log.read_text() if self.arm_log.exists() else ''
    lines = [line.split() for line in text.splitlines(keepends=False)]
    return [(float(x), int(pid), name) for x, pid, name in lines]

  def rows(self):
    """Returns the episodes in the results."""
    path = self.workdir / 'episodes.jsonl'
    text = path.read_text() if path.exists() else ''
    return [
      json.loads(x) for x in text.splitlines(keepends=True) if x[-1:] == '\n'
    ]

  def episodes(self):
    """Returns the closed episodes of the journal."""
    return list(episodes.read(self.workdir / 'journal'))

  def last_episode(self):
    """Returns the newest closed episode of the journal."""
    folder = self.workdir / 'journal'
    last = [x for x in journal_files.files(folder) if x.closed][-1]
    (episode,) = episodes.read(folder, last.first - 1)
    return episode

  def num_rows(self):
    """Returns the whole rows in the journal, those of an open file too."""
    folder = self.workdir / 'journal'
    return sum(1 for _ in journal.tail(folder, closed_only=False))

  def _read(self, terminal):
    while self._terminal == terminal:
      if not select.select([terminal], [], [], 0.05)[0]:
        continue
      try:
        data = os.read(terminal, 4096)
      except OSError:  # the other side hung up
        return
      self.output += data.decode('utf-8', 'replace')


def recorded(folder) -> Rig:
  """Returns a rig that has made a short run of 0.1 minutes; all has ended."""
  server = Server()
  rig = Rig(folder, server.port, time_limit=40)
  try:
    rig.start(minutes=0.1)
    rig.wait()
  finally:
    rig.stop()
    server.kill()
  return rig
