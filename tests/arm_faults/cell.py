"""Kills of a whole cell, and of what runs in it."""

import json
import os
import signal
import time

from rlt_jax.robot import processes
from rlt_jax.robot.recording import episodes
from tests.arm_faults.cases import check_still, Context, STRIDE, Tally
from tests.arm_faults.rig import Rig, Server, wait_for

_GONE_S = 120.0  # a minute for the learner to save, on a busy machine
_STOPS_WITHIN_S = 3.0  # of a signal to the cell
_HOLDS_WITHIN_S = 1.0  # of the watchdog's death
_LEARNS_S = 300.0  # to import and compile on a busy machine
_PER_CELL = 3  # a cell starts each process again so often
_LEARNS_EVERY = 4  # cells; a learner takes long to start and to end
_PARTS = {'VLA': 'arm_faults.parts', 'learner': 'run_learner'}
_WATCHDOG = 'control.watchdog'
_RELEASE = 'Release the arm to start it again'


class CellRig(Rig):
  """A rig whose process is a cell, which starts the loop and a server.

  left: the processes that did not end with it.
  """

  def __init__(self, folder, **station):
    super().__init__(folder, processes.free_port(), **station)

  def start(self, *flags, minutes=1000.0, term='dumb'):
    """Starts the cell; `flags` are of `experiments.robot_cell`."""
    self._launch(
      'tests.arm_faults.cell_program', f'--bundle={self.folder / "bundle"}',
      f'--port={self.port}', *self._plan(minutes), *flags, term=term,
    )  # fmt: skip

  def wait(self, timeout_s=_GONE_S):
    """Returns the cell's status once all of it has ended, or had the time."""
    status, end = self.process.wait(timeout_s), time.monotonic() + timeout_s
    while self.running() and time.monotonic() < end:
      time.sleep(0.1)
    self.left = self.running()
    super().wait()
    return status

  def interrupt(self):
    """Ends it by one Ctrl-C."""
    self.press('\x03')
    return self.wait()


def kill_cell(context: Context) -> Tally:
  """kill -9 of the cell: the loop holds the arm and ends, and so does all."""

  def end(rig, loop):
    del loop
    rig.signal(signal.SIGKILL)

  return _ended(context, 'kill_cell', end, -signal.SIGKILL)


def interrupt_cell(context: Context) -> Tally:
  """Ctrl-C four times: the loop ends first, all is written, nothing is left."""

  def end(rig, loop):
    del loop
    for _ in range(4):
      rig.press('\x03')
      time.sleep(context.rng.uniform(0.0, 0.3))

  return _ended(context, 'interrupt_cell', end, 128 + signal.SIGINT)


def hang_up_cell(context: Context) -> Tally:
  """A cell whose terminal hangs up: as by Ctrl-C."""

  def end(rig, loop):
    del loop
    rig.hang_up()

  return _ended(context, 'hang_up_cell', end, 128 + signal.SIGHUP)


def kill_loop_of_cell(context: Context) -> Tally:
  """kill -9 of the loop in a cell: the watchdog holds, and the cell ends."""

  def end(rig, loop):
    del rig
    os.kill(loop, signal.SIGKILL)

  status = 128 + signal.SIGKILL
  return _ended(context, 'kill_loop_of_cell', end, status, orderly=False)


def _ended(context, name, end, status, *, orderly=True) -> Tally:
  """Ends cells at random moments; each next one goes on with the run.

  The first of four cells has a learner.
  """
  tally, rig = context.tally, CellRig(context.fresh(name))
  try:
    for number in range(context.count):
      learns = number % _LEARNS_EVERY == 0
      rig.start(f'--learner={learns}', *['--resume'] * bool(number))
      rig.wait_until_moving()
      time.sleep(context.rng.uniform(0.1, 3.0))
      (loop,) = rig.running('arm_faults.loop')
      rows, at = rig.num_rows(), time.monotonic()
      end(rig, loop)
      faults = [] if orderly else check_still(rig, at, loop=loop)
      if (found := rig.wait()) != status:
        faults.append(f'the status is {found}')
      tally.add(faults + _check_gone(rig, loop, at, rows, orderly))
    rig.start('--resume', '--nolearner')
    rig.wait_until_moving()
    rig.interrupt()
    tally.add(_check_counted(rig))
  finally:
    rig.stop()
  return tally


def _check_gone(rig, loop, at, rows, orderly) -> list[str]:
  """Returns what is wrong after the end of a cell, which began at `at`, s."""
  faults = [f'{len(rig.left)} processes are left'] if rig.left else []
  calls = rig.calls()
  late = [x[2] for x in calls if x[0] > at + _STOPS_WITHIN_S]
  if 'command' in late:
    faults.append('the arm was moved afterwards')
  if orderly:
    last = [x[2] for x in calls if x[1] == loop][-2:]
    if last != ['hold', 'disconnect']:
      faults.append(f'the last calls are {last}')
    if list((rig.workdir / 'journal').glob('*.open')):
      faults.append('the journal was not closed')
  elif 'The loop was killed by SIGKILL' not in rig.output:
    faults.append('no word about the loop')
  if (lost := rows - rig.num_rows()) > 0:
    faults.append(f'{lost} rows are gone')
  return faults


def _check_counted(rig) -> list[str]:
  """Returns what the results lack of the episodes in the journal."""
  recorded = sum(x.num_steps > 0 for x in rig.episodes())
  listed = sum(x['steps'] > 0 for x in rig.rows())
  if listed < recorded:
    return [f'{listed} of {recorded} episodes are in the results']
  return []


def kill_parts_of_cell(context: Context) -> Tally:
  """kill -9 of server, learner and watchdog: each is started again."""
  tally, rng = context.tally, context.rng
  rig = CellRig(context.fresh('kill_parts'), time_limit=50)
  kinds = sorted([*_PARTS, 'watchdog'])
  try:
    for number in range(context.count):
      if number % _PER_CELL == 0:
        if number:
          rig.interrupt()
        rig.start(*['--resume'] * bool(number))
      for name in rng.sample(kinds, len(kinds)):
        rig.wait_until_moving()
        time.sleep(rng.uniform(0.0, 2.0))
        rows = rig.num_rows()
        faults = _kill_part(rig, name)
        rig.wait_until_moving()  # also because another episode begins
        if (lost := rows - rig.num_rows()) > 0:
          faults.append(f'{name}: {lost} rows are gone')
        tally.add(faults)
    path = rig.workdir / 'learner' / 'metrics.jsonl'
    last = rig.last_episode().index
    wait_for(lambda: last in _learned(path), 'the last episode', _LEARNS_S)
    tally.add(_check_learned(rig, _learned(path), last))
    rig.interrupt()
    tally.add(_check_counted(rig))
  finally:
    rig.stop()
  return tally


def _kill_part(rig, name) -> list[str]:
  if name == 'watchdog':
    return _kill_watchdog(rig)
  words, pattern = f'The {name} was killed by SIGKILL', _PARTS[name]
  said = rig.output.count(words)
  (pid,) = wait_for(lambda: rig.running(pattern), f'a {name}')
  os.kill(pid, signal.SIGKILL)
  wait_for(lambda: rig.output.count(words) > said, f'words about the {name}')
  wait_for(lambda: set(rig.running(pattern)) - {pid}, f'another {name}')
  return []


def _kill_watchdog(rig) -> list[str]:
  """Returns what is wrong with the hold that follows."""
  (pid,), at = wait_for(lambda: rig.running(_WATCHDOG), 'one'), time.monotonic()
  os.kill(pid, signal.SIGKILL)

  def holds():
    return [x[0] for x in rig.calls() if x[0] > at and x[2] == 'hold']

  late_s = wait_for(holds, 'a hold')[0] - at
  within = late_s <= _HOLDS_WITHIN_S
  return [] if within else [f'watchdog: the arm held after {late_s:.1f} s']


def _learned(path) -> list[int]:
  """Returns the episodes that the learner has written about."""
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  rows = [json.loads(x) for x in lines if x[-1] == '\n']
  return [x['episode'] for x in rows if 'episode' in x]


def _check_learned(rig, numbers, last) -> list[str]:
  """Returns which episodes up to one were not learned once."""
  faults = []
  if len(numbers) != len(set(numbers)):
    faults.append('an episode was learned twice')
  expected = {
    x.index
    for x in rig.episodes()
    if x.index <= last and episodes.learnable_parts(x, STRIDE)
  }
  if missing := expected - set(numbers):
    faults.append(f'{len(missing)} of {len(expected)} episodes not learned')
  return faults


def kill_watchdog(context: Context) -> Tally:
  """kill -9 of the watchdog: the loop holds; a release starts another."""
  tally, server = context.tally, Server()
  rig = Rig(context.fresh('kill_watchdog'), server.port)
  try:
    rig.start()
    for _ in range(context.count):
      rig.wait_until_in_motion()
      time.sleep(context.rng.uniform(0.1, 1.0))
      said = rig.output.count(_RELEASE)
      faults = _kill_watchdog(rig)
      wait_for(lambda n=said: rig.output.count(_RELEASE) > n, 'its words')
      rig.press('r')
      rig.wait_until_moving()
      tally.add(faults if rig.running(_WATCHDOG) else [*faults, 'none runs'])
  finally:
    rig.stop()
    server.kill()
  return tally
