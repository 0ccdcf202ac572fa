"""Runs in a process of its own: a small sweep, spread over devices.

python -m tests.training.sweep_worker ASSETS WORKDIR DEVICES
"""

import dataclasses
import functools
import pathlib
import sys

from rlt_jax import tasks
from rlt_jax.training import sweep
from tests.training.conftest import load_without_images, small_config

SEEDS = (0, 1)
# Without a token: images of another batch may differ by a gray level, which an
# untrained token makes much of. The rest must then agree closely.
CONFIG = dataclasses.replace(
  small_config(),
  token_ablation='zeros',
  num_env_steps=200,
  eval_at_minutes=(),
  checkpoint_minutes=0.03,
)


def main(assets, workdir, devices):
  tasks.load = functools.partial(load_without_images, tasks.load)
  run = sweep.Sweep(
    workdir=pathlib.Path(workdir),
    config=CONFIG,
    seeds=SEEDS,
    devices=int(devices),
    assets=assets,
  )
  run.state = run.loop.run(run.loop.init(), lambda *_: None)
  for leaf in (run.state.actors.env_states.qpos, run.state.learner.replay.size):
    assert len(leaf.sharding.device_set) == int(devices)
    assert not leaf.sharding.is_fully_replicated
  run.save()


if __name__ == '__main__':
  main(*sys.argv[1:])
