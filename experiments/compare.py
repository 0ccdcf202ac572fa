"""Runs baselines and ablations of RLT and writes one table and one figure.

  python -m experiments.compare --workdir=runs/compare --rows=rlt,imitation
  python -m experiments.compare --workdir=runs/compare --rows=rlt,imitation \\
      --resume

Each row of the comparison is a set of settings (rlt_jax/comparison/rows.py;
docs/baselines.md) and is run with each seed, one run after the other. Run N of
a row is written to workdir/ROW/seed-N, which is a complete workdir of
experiments.practice, or has the weights of a row that trains the VLA. The
workdir gets comparison.md, comparison.json and comparison.png: success and
throughput against robot minutes, and the gates of each row, which say whether
its figures may be believed.

With --resume it goes on: finished runs are skipped, a stopped one continues.
The rows and seeds may then be others, and the table has all that the folder
has; settings may not. Several processes with --resume share a folder, on other
devices or hosts: each takes the runs that no other one has.

Cost: a run takes what experiments.practice takes, 8 to 13 minutes for 15 robot
minutes of RLT on two cores; docs/baselines.md has the others.
"""

import pathlib

from absl import flags

from . import launch, launch_help

_WORKDIR = launch.define_workdir('Folder of the comparison.')
_ROWS = flags.DEFINE_list(
  'rows', ['rlt'], "Rows, as of docs/baselines.md; 'all' takes every one."
)
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Seeds, one run each.')
launch.require_integers('seeds', minimum=0)
_MINUTES = flags.DEFINE_float(
  'minutes', 15.0, 'Robot minutes of each run.', lower_bound=0.0
)
_SET = flags.DEFINE_multi_string(
  'set', [], 'Changes a setting of every row; may be repeated, listed below.'
)
_TASK = flags.DEFINE_string(
  'task', '', "Task, as in experiments.practice; empty takes 'ethernet'."
)
_VLA = launch.define_path(
  'vla', '', "VLA, as in experiments.practice; empty takes 'pi_small'."
)
list_settings = launch_help.of_rows
_RESUME = launch.define_resume()
_ASSETS = launch.define_assets()


def main() -> None:
  """Runs what is missing, and writes the table."""
  from rlt_jax.comparison import compare, rows

  with launch.user_errors():
    names = list(rows.ROWS) if _ROWS.value == ['all'] else _ROWS.value
    given = {'changes': _SET.value, 'task': _TASK.value, 'vla': _VLA.value}
    comparison = compare.Comparison(
      workdir=pathlib.Path(_WORKDIR.value),
      rows=rows.find(names),
      make_config=lambda row: rows.make_config(row, _MINUTES.value, **given),
      seeds=[int(seed) for seed in _SEEDS.value],
      resume=_RESUME.value,
      assets=_ASSETS.value,
      command=launch.command_line(),
    )
  with launch.resumable(comparison.is_saved):
    try:
      comparison.run()
    except compare.RefusedError as error:
      raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
  launch.run(main)
