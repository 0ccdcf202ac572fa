"""Runs in a process of its own: a small sweep, spread over devices.

python -m tests.rollout.sweep_worker ASSETS WORKDIR DEVICES
"""

import pathlib
import sys

from rlt_jax.rollout import sweep
from tests.rollout.conftest import small_config

SEEDS = (0, 1)


def main(assets, workdir, devices):
  run = sweep.Sweep(
    workdir=pathlib.Path(workdir),
    config=small_config(),
    seeds=SEEDS,
    devices=int(devices),
    assets=assets,
  )
  run.practise()
  assert len(run.state.robots.worlds.qpos.devices()) == int(devices)
  assert len(run.state.learner.replay.size.devices()) == int(devices)


if __name__ == '__main__':
  main(*sys.argv[1:])
