"""The real loop in a terminal of its own, on a fake arm that keeps a log."""

import json
import os
import pathlib
import pty
import select
import subprocess
import sys
import threading
import time

from rlt_jax.robot import processes
from rlt_jax.robot.recording import episodes, journal
from tests.robot.test_runtime import write_bundle
from tests.robot.test_station import write as write_station

_ROOT = pathlib.Path(__file__).parents[2]
_LONG_S = 60.0  # a busy machine may take so long


def wait_for(condition, what, timeout_s=_LONG_S):
  """Returns the first true value of a condition."""
  end = time.monotonic() + timeout_s
  while not (found := condition()):
    assert time.monotonic() < end, f'{what} did not happen in {timeout_s:.0f} s'
    time.sleep(0.02)
  return found


class Server:
  """The VLA server in a process of its own."""

  def __init__(self):
    self.port = processes.free_port()
    self.process = None
    self.start()

  def start(self):
    command = [sys.executable, '-m', 'tests.arm_faults.parts', str(self.port)]
    self.process = subprocess.Popen(
      command, cwd=_ROOT, stderr=subprocess.DEVNULL
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
    self.folder, self.workdir = folder, folder / 'run'
    self.arm_log = folder / 'arm.log'
    if not (folder / 'bundle').exists():
      write_bundle(folder / 'bundle')
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
    self._station = write_station(folder, name=name, **fields)
    self.process, self.output, self._terminal = None, '', None

  def start(self, *flags, minutes=1000.0):
    """Starts the loop; `flags` are of `experiments.robot`."""
    command = [
      sys.executable, '-m', 'tests.arm_faults.loop',
      f'--station={self._station}', f'--workdir={self.workdir}',
      f'--minutes={minutes}', '--num_base_episodes=0',
      '--num_final_episodes=0', '--vla_warmup_steps=0', '--norealtime', *flags,
    ]  # fmt: skip
    self._terminal, other = pty.openpty()
    self.process = subprocess.Popen(
      command,
      cwd=_ROOT,
      start_new_session=True,
      preexec_fn=lambda: os.login_tty(other),
      pass_fds=[other],
      env=os.environ | {'OMP_NUM_THREADS': '1', 'TERM': 'dumb'},
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
    if self._terminal is not None:
      self.hang_up()

  def wait_until_moving(self):
    """Returns when the loop sends commands that were not sent before."""

    def check():
      if self.process.poll() is not None:
        raise AssertionError(f'The loop has ended: {self.output[-2000:]}')
      calls = self.calls()
      return any(x[2] == 'command' for x in calls[before:])

    before = len(self.calls())
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
