"""Practices several seeds in one process and writes a report for each.

  python -m experiments.sweep --workdir=runs/full --seeds=0,1,2,3
  python -m experiments.sweep --workdir=runs/full --seeds=0,1,2,3 --resume

Each seed gives the result of its own run of `experiments.practice`, up to
rounding: over a long run the numbers differ as they would between two machines.
No videos are made. Seed N is written to workdir/seed-N, which is a complete
workdir of a run. At the end the workdir gets a common report of all seeds:
report.md, report.json and learning.png.

Cost: on two cores about the time of the runs one after the other; it saves
time on a GPU and with several devices.
"""

import pathlib

from absl import flags

from . import launch

_WORKDIR = launch.define_workdir('Folder of the sweep; seed N is in seed-N.')
_SEEDS = flags.DEFINE_list(
  'seeds', ['0', '1', '2', '3'], 'Seeds, one run each.'
)
launch.require_integers('seeds', minimum=0)
_SETTINGS = launch.define_settings()
_RESUME = launch.define_resume()
_DEVICES = flags.DEFINE_integer(
  'devices', 1, 'Number of devices to split the seeds over.', lower_bound=1
)
_ASSETS = launch.define_assets()


def main() -> None:
  """Starts or resumes a sweep."""
  from rlt_jax.training import sweep

  workdir = pathlib.Path(_WORKDIR.value)
  with launch.user_errors():
    if any(x.strip().startswith('seed=') for x in _SETTINGS.set.value):
      raise ValueError(f'--seeds must give the seeds: {_SETTINGS.set.value}.')
    run = sweep.Sweep(
      workdir=workdir,
      config=_SETTINGS.make_config(
        workdir / f'seed-{_SEEDS.value[0]}' if _RESUME.value else None
      ),
      seeds=[int(seed) for seed in _SEEDS.value],
      resume=_RESUME.value,
      devices=_DEVICES.value,
      assets=_ASSETS.value,
      command=launch.command_line(),
    )
  with launch.resumable(run.is_saved):
    run.practice()
    run.report()


if __name__ == '__main__':
  launch.run(main)
