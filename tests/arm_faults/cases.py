"""What is done to a run, and what must come of it."""

import dataclasses
import pathlib
import random
import shutil
import signal
import time

import numpy as np

from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.recording import episodes, journal_files
from rlt_jax.robot.recording.journal import JournalError
from tests.arm_faults.rig import recorded, Rig, Server, wait_for
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE

STRIDE = BUNDLE.replay_stride
_TRIPPED = 'Release the arm to start it again'  # the watchdog
_KEPT_SHARE = 0.8  # of the steps that a killed loop has driven
_HOLD_WITHIN_S = 5.0  # of a kill, on a busy machine


@dataclasses.dataclass
class Tally:
  """What one case came to. notes: of what was lost, and figures."""

  tried: int = 0
  survived: int = 0
  notes: list[str] = dataclasses.field(default_factory=list)

  def add(self, faults: list[str]) -> None:
    """Counts one trial, which survived if it has no faults."""
    self.tried += 1
    self.survived += not faults
    self.notes += faults


@dataclasses.dataclass
class Context:
  """Where a case works. count: of its trials. seed: that of `rng`.

  tally: what the case returns, filled while it runs.
  """

  folder: pathlib.Path
  rng: random.Random
  count: int
  seed: str = ''
  tally: Tally = dataclasses.field(default_factory=Tally)

  def fresh(self, name: str) -> pathlib.Path:
    """Returns a folder that does not exist yet."""
    folder = self.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def check_learned(episode: episodes.Episode, said: str) -> list[str]:
  """Returns what is wrong with what the learner makes of an episode."""
  parts = episodes.learnable_parts(episode, STRIDE)
  if said in ('abort', 'rerecord'):
    return [f'{said}: {len(parts)} parts are learned'] if parts else []
  if episode.outcome != said:
    return [f'{said} is {episode.outcome} in the journal']
  ends = [x.end for x in parts]
  if not ends or ends[-1] != said:
    return [f'{said} ends in {ends[-1:]}']
  return []


def kill_loop(context: Context) -> Tally:
  """kill -9 of the loop: its rows stay, nothing moves, the run goes on."""
  tally, server, steps = context.tally, Server(), 0
  rig = Rig(context.fresh('kill_loop'), server.port, watchdog_timeout_s=10.0)
  try:
    for number in range(context.count):
      rig.start(*['--resume'] * bool(number))
      rig.wait_until_moving()
      time.sleep(context.rng.uniform(0.1, 3.0))
      at = time.monotonic()
      rig.signal(signal.SIGKILL)
      rig.wait()
      faults = check_still(rig, at)
      rows = rig.num_rows()
      if rows < steps:
        faults.append(f'{steps - rows} rows are gone')
      steps = rows
      tally.add(faults)
    rig.start('--resume')
    rig.wait_until_moving()
    rig.signal(signal.SIGTERM)
    rig.wait()
    found = [x for x in rig.episodes() if x.outcome is None]
    driven = sum(x.num_steps for x in found)
    waited = sum(x.waited for x in found)
    parts = [x for e in found for x in episodes.learnable_parts(e, STRIDE)]
    kept = sum(len(x.steps) for x in parts)
    listed = [x for x in rig.rows() if x['cause'] == 'the program was killed']
    faults = [] if rig.num_rows() >= steps else ['rows are gone at the end']
    if sum(x['steps'] for x in listed) != driven + waited:
      faults.append('not all killed episodes are in the results')
    text = f'{kept} of {driven} steps can be learned from, {waited} waited'
    if kept < _KEPT_SHARE * driven:
      faults.append(text)
    tally.add(faults)
    tally.notes += [] if text in faults else [text]
  finally:
    rig.stop()
    server.kill()
  return tally


def check_still(
  rig: Rig, at: float, timeout_s: float = 0.0, *, loop: int | None = None
) -> list[str]:
  """Returns what is wrong with an arm whose loop ended or froze at `at`, s.

  Args:
    rig: of the loop.
    at: s.
    timeout_s: of the watchdog, where the loop does not end.
    loop: its process; None: the rig's.
  """
  loop = rig.process.pid if loop is None else loop

  def held():
    return [x for x in rig.calls() if x[1] != loop and x[0] > at]

  try:
    found = wait_for(held, 'a hold', _HOLD_WITHIN_S + timeout_s)
  except AssertionError as error:
    return [str(error)]
  moved = [x for x in rig.calls() if x[0] > at + 0.05 and x[2] == 'command']
  faults = ['commands after the kill'] if moved else []
  return faults if found[0][2] == 'hold' else [*faults, f'{found[0]}']


def signals(context: Context) -> Tally:
  """Signals, also to a stopped arm: the arm holds, all is written."""
  ways = ('SIGINT', 'SIGTERM', 'SIGHUP', 'hang up', 'hang up xterm', 'twice')
  return _signals(context, (*ways, 'stopped', 'stopped twice'))


def hang_up(context: Context) -> Tally:
  """A terminal that hangs up, as a lost SSH connection does."""
  return _signals(context, ('hang up', 'hang up xterm'))


def _signals(context: Context, ways: tuple[str, ...]) -> Tally:
  tally, server = context.tally, Server()
  try:
    for number in range(context.count):
      how = ways[number % len(ways)]
      rig = Rig(context.fresh(f'signals{number}'), server.port)
      try:
        rig.start(term='xterm' if how.endswith('xterm') else 'dumb')
        rig.wait_until_moving()
        time.sleep(context.rng.uniform(0.1, 2.0))
        if hangs := how.startswith('hang up'):
          rig.hang_up()
        if how.startswith('stopped'):
          rig.press(' ')
          wait_for(lambda r=rig: r.calls()[-1][2] == 'hold', 'a hold')
          time.sleep(context.rng.uniform(0.0, 0.5))
        for _ in range(2 if how.endswith('twice') else not hangs):
          rig.signal(getattr(signal, how, signal.SIGINT))
        status = rig.wait()
        tally.add([f'{how}: {x}' for x in check_ended(rig, status)])
      finally:
        rig.stop()
  finally:
    server.kill()
  return tally


def check_ended(rig: Rig, status: int) -> list[str]:
  """Returns what is wrong after an orderly end."""
  faults = [] if status >= 0 else [f'it was killed by signal {-status}']
  calls = [x[2] for x in rig.calls() if x[1] == rig.process.pid]
  if calls[-2:] != ['hold', 'disconnect']:
    faults.append(f'the last calls are {calls[-3:]}')
  open_files = list((rig.workdir / 'journal').glob('*.open'))
  if open_files or not rig.rows():
    faults.append('not everything is written')
  return faults


def kill_vla(context: Context) -> Tally:
  """kill -9 of the VLA server while the arm moves: it goes on, no step less."""
  tally, server = context.tally, Server()
  rig = Rig(context.fresh('kill_vla'), server.port)
  try:
    rig.start('--resume_after_s=0.5')
    for number in range(context.count):
      rig.wait_until_in_motion()
      time.sleep(context.rng.uniform(0.8, 2.0))
      server.kill()
      time.sleep(context.rng.uniform(0.0, 2.0))
      server.start()
      rig.wait_until_moving()
      time.sleep(1.0)
      rig.press('s')
      wait_for(lambda n=number: len(rig.rows()) > n, 'the end of an episode')
      tally.add(check_whole(rig.episodes()[-1], 'success'))
  finally:
    rig.stop()
    server.kill()
  return tally


def cameras(context: Context) -> Tally:
  """Slow and hung cameras: refused or held in words, and the run can end."""
  tally, server = context.tally, Server()
  try:
    for number in range(context.count):
      hangs = number % 2
      arguments = {'size': 8} | (
        {'hang_at_s': 9.0 + context.rng.uniform(0.0, 2.0)}
        if hangs else {'slow_s': context.rng.uniform(0.1, 0.5)}
      )  # fmt: skip
      rig = Rig(
        context.fresh(f'cameras{number}'),
        server.port,
        camera_arguments=arguments,
      )
      try:
        rig.start()
        tally.add(_hung(rig) if hangs else _slow(rig))
      finally:
        rig.stop()
  finally:
    server.kill()
  return tally


def _slow(rig: Rig) -> list[str]:
  status = rig.wait()
  refused = status == 1 and 'must not run' in rig.output
  return [] if refused and 'pictures' in rig.output else ['was not refused']


def _hung(rig: Rig) -> list[str]:
  rig.wait_until_moving()
  words = 'has given none for'
  wait_for(lambda: words in rig.output, 'words about the camera')
  rig.signal(signal.SIGINT)
  return check_ended(rig, rig.wait())


def stalls(context: Context) -> Tally:
  """The loop is frozen until its watchdog holds; a release goes on."""
  tally, server = context.tally, Server()
  rig = Rig(context.fresh('stalls'), server.port, watchdog_timeout_s=3.0)
  try:
    rig.start()
    for _ in range(context.count):
      rig.wait_until_moving()
      time.sleep(context.rng.uniform(0.1, 1.0))
      at = time.monotonic()
      rig.signal(signal.SIGSTOP)
      faults = check_still(rig, at, 3.0)
      rig.signal(signal.SIGCONT)
      before = rig.output.count(_TRIPPED)
      wait_for(lambda n=before: rig.output.count(_TRIPPED) > n, 'its words')
      rig.press('r')
      rig.wait_until_moving()
      tally.add(faults)
  finally:
    rig.stop()
    server.kill()
  return tally


def slow_vla(context: Context) -> Tally:
  """A server that stalls for seconds: the arm waits, and no step is lost."""
  tally, server = context.tally, Server()
  rig = Rig(context.fresh('slow_vla'), server.port)
  try:
    rig.start()
    for number in range(context.count):
      rig.wait_until_in_motion()
      time.sleep(context.rng.uniform(0.8, 1.5))
      server.process.send_signal(signal.SIGSTOP)
      time.sleep(context.rng.uniform(0.5, 8.0))
      server.process.send_signal(signal.SIGCONT)
      rig.wait_until_moving()
      time.sleep(0.7)
      rig.press('f')
      wait_for(lambda n=number: len(rig.rows()) > n, 'the end of an episode')
      tally.add(check_whole(rig.episodes()[-1], 'failure'))
  finally:
    rig.stop()
    server.kill()
  return tally


def check_whole(episode: episodes.Episode, said: str) -> list[str]:
  """Returns what is wrong with an episode of which all must be learned."""
  parts = episodes.learnable_parts(episode, STRIDE)
  lost = episode.num_steps - sum(len(x.steps) for x in parts)
  faults = check_learned(episode, said)
  return faults + ([f'{lost} steps are lost'] if lost else [])


def damaged_files(context: Context) -> Tally:
  """Flips and cuts of journal and weights: refused by name, or unchanged."""
  tally, rng = context.tally, context.rng
  rig = recorded(context.fresh('damaged'))
  folder = rig.workdir / 'journal'
  entries = journal_files.files(folder)
  whole = [_content(x) for x in episodes.read(folder)]
  weights = rig.folder / snapshot.FILE
  layers = make_layers(BUNDLE)
  snapshot.write(rig.folder, snapshot.Snapshot(layers, 3, 10, 20, time.time()))
  for number in range(context.count):
    path = weights if number % 2 else rng.choice(entries).path
    content = path.read_bytes()
    path.write_bytes(damaged(content, rng))
    try:
      if number % 2:
        found = snapshot.read(rig.folder, BUNDLE).layers
        same = all(map(np.array_equal, found, layers))
      else:
        same = [_content(x) for x in episodes.read(folder)] == whole
      tally.add([] if same else [f'{path.name}: read as something else'])
    except (JournalError, ValueError) as error:
      named = path.stem in str(error)
      tally.add([] if named else [f'{path.name}: {error}'])
    finally:
      path.write_bytes(content)
  return tally


def damaged(content: bytes, rng: random.Random) -> bytes:
  """Returns the content cut short or with one flipped bit."""
  if rng.random() < 0.3:
    return content[: rng.randrange(len(content))]
  flipped = bytearray(content)
  flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  return bytes(flipped)


def _content(episode: episodes.Episode) -> str:
  """Returns all of an episode as text, to compare."""
  with np.printoptions(threshold=np.inf):
    return repr(episode)
