"""Kills runs at random moments, also while they save.

python -m tests.training.kill_worker FOLDER KILLS SEED

kills a run on fakes that often, continues it each time, and compares its end
with that of a run that was not killed.
"""

import dataclasses
import pathlib
import random
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from rlt_jax.export import checkpoint
from rlt_jax.reporting import metrics
from tests.training.fake_run import CONFIG, maker

_ROOT = pathlib.Path(__file__).parents[2]
# A checkpoint after every round, of a size that takes as long as the round.
_CONFIG = dataclasses.replace(
  CONFIG, num_env_steps=40_000, eval_at_minutes=(3.0, 7.0),
  checkpoint_minutes=0.16,
)  # fmt: skip
_WEIGHTS = 1_000_000


class Campaign(NamedTuple):
  """kills: so many. saving: of them while a checkpoint was written or replaced.

  same: the end is that of the unbroken run, to the bit.
  """

  kills: int
  saving: int
  same: bool


def work(workdir: pathlib.Path) -> None:
  """Begins or continues the run in this process."""
  resume = checkpoint.latest(workdir) is not None
  with pytest.MonkeyPatch.context() as patch:
    run = maker(patch)(workdir, resume=resume, config=_CONFIG, weights=_WEIGHTS)
    print('begins', flush=True)
    run.practice()


def campaign(folder: pathlib.Path, kills: int, seed: int) -> Campaign:
  """Kills a run `kills` times; see above."""
  rng = random.Random(seed)
  start = time.monotonic()
  _start(folder / 'unbroken').wait()
  seconds = time.monotonic() - start
  done = saving = 0
  checkpoints = folder / 'killed' / 'checkpoints'
  while done < kills:
    left_over = set(checkpoints.glob('.*'))
    process = _start(folder / 'killed')
    process.stdout.readline()
    # So that the run does not end before its time.
    time.sleep(rng.uniform(0, seconds / kills))
    process.kill()
    if process.wait() == 0:
      break
    done += 1
    saving += bool(set(checkpoints.glob('.*')) - left_over)
  assert _start(folder / 'killed').wait() == 0
  return Campaign(
    done, saving, _end(folder / 'killed') == _end(folder / 'unbroken')
  )


def _start(workdir: pathlib.Path) -> subprocess.Popen:
  command = [sys.executable, '-m', 'tests.training.kill_worker', str(workdir)]
  return subprocess.Popen(
    command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
  )


def _end(workdir: pathlib.Path):
  """Returns everything that must be equal at the end of a run."""
  rows = metrics.read_metrics(workdir)
  for row in rows:
    del row['updates_per_s']
  record = checkpoint.files.read_json(workdir / 'evaluations.json')
  newest = checkpoint.latest(workdir)
  meta = workdir / 'checkpoints' / str(newest) / 'meta.json'
  leaves = checkpoint.files.read_json(meta)['leaves']
  return newest, leaves, rows, record | {'seconds': None}


if __name__ == '__main__':
  if len(sys.argv) == 2:
    work(pathlib.Path(sys.argv[1]))
  else:
    print(
      campaign(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    )
