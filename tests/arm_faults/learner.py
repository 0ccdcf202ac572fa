"""Kills of the learner's process, and weights damaged beside a loop."""

import os
import signal
import subprocess
import sys
import time

from rlt_jax.robot.policy import snapshot
from tests.arm_faults.cases import Context, Tally
from tests.arm_faults.rig import recorded, Rig, Server, wait_for
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE

# Chunk, networks and noise come from the bundle.
_SETTINGS = ('learning_starts=8', 'agent.batch_size=8')
_START_S = 300.0  # to import and compile on a busy machine


def kill_learner(context: Context) -> Tally:
  """kill -9 of the learner: it starts again and learns every episode once."""
  tally = context.tally
  rig = recorded(context.fresh('kill_learner'))
  last = rig.episodes()[-1].index
  for number in range(context.count):
    learner = _Learner(rig)
    wait_for(lambda x=learner: x.said('is published'), 'a version', _START_S)
    time.sleep(context.rng.uniform(0.0, 3.0))
    tally.add(learner.end(signal.SIGKILL, f'kill {number}'))
  learner = _Learner(rig)
  done = f'"episode": {last}'
  path = rig.workdir / 'learner' / 'metrics.jsonl'
  wait_for(lambda: done in path.read_text(), 'the last episode', _START_S)
  faults = learner.end(signal.SIGTERM, 'the end')
  lines = [x for x in path.read_text().splitlines() if '"episode"' in x]
  if len(lines) != len(rig.episodes()):
    faults.append(f'{len(lines)} of {len(rig.episodes())} episodes learned')
  snapshot.read(rig.workdir / 'learner', BUNDLE)
  tally.add(faults)
  return tally


class _Learner:
  """The process of `experiments.run_learner`."""

  def __init__(self, rig: Rig):
    self._log = rig.folder / 'learner.log'
    flags = [
      f'--journal={rig.workdir / "journal"}',
      f'--bundle={rig.folder / "bundle"}',
      f'--workdir={rig.workdir / "learner"}',
      '--save_every_s=0.5',
      *(f'--set={x}' for x in _SETTINGS),
    ]
    with self._log.open('wb') as log:
      self.process = subprocess.Popen(
        [sys.executable, '-m', 'experiments.run_learner', *flags],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
      )

  def said(self, text: str) -> bool:
    """Returns whether it has printed a text."""
    found = self._log.read_text('utf-8', 'replace')
    assert self.process.poll() is None, found[-2000:]
    return text in found

  def end(self, signum: int, name: str) -> list[str]:
    """Ends it and returns what is wrong with its status."""
    self.process.send_signal(signum)
    status = self.process.wait(_START_S)
    expected = -signum if signum == signal.SIGKILL else 0
    return [] if status == expected else [f'{name}: status {status}']


def damaged_weights(context: Context) -> Tally:
  """Damaged snapshots beside a loop: refused in words, and it goes on."""
  tally, server, rng = context.tally, Server(), context.rng
  rig = Rig(context.fresh('weights'), server.port, time_limit=25)
  folder = rig.workdir / 'learner'
  folder.mkdir(parents=True)
  try:
    snapshot.write(folder, snapshot.Snapshot(make_layers(BUNDLE), 1, 9, 9, 0.0))
    rig.start()
    rig.wait_until_moving()
    path = folder / snapshot.FILE
    whole = path.read_bytes()
    for number in range(context.count):
      content = bytearray(whole)
      content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
      half = content[: rng.randrange(len(content))]
      path.write_bytes(rng.choice([bytes(content), bytes(half), b'']))
      before = len(rig.rows())
      wait_for(lambda n=before: len(rig.rows()) > n + 1, 'two episodes')
      words = 'The weights of before stay in use'
      tally.add([] if words in rig.output else [f'{number}: no word'])
      rig.output = ''
    tally.add([] if rig.rows()[-1]['policy_version'] == 1 else ['version'])
  finally:
    rig.stop()
    server.kill()
  return tally
