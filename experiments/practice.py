"""Practices a task and writes the report.

  python -m experiments.practice --workdir=runs/a
  python -m experiments.practice --workdir=runs/b --set=seed=1 \
      --set=agent.beta=0.01
  python -m experiments.practice --workdir=runs/a --resume

The workdir gets config.json, metrics.jsonl, TensorBoard events, checkpoints/,
report.md, report.json, the plots and film.gif. How long a run takes is in
docs/performance.md, results are in docs/results.md.
"""

import pathlib

from absl import flags

from experiments import launch
from rlt_jax.training import practice_run

_WORKDIR = launch.define_workdir()
_SETTINGS = launch.define_settings()
_RESUME = launch.define_resume()
_ASSETS = launch.define_assets()
_REPORT = flags.DEFINE_bool(
  'report', True, 'Write report, plots and video at the end.'
)


def main() -> None:
  """Starts or resumes a run."""
  with launch.user_errors():
    run = practice_run.PracticeRun(
      workdir=pathlib.Path(_WORKDIR.value),
      config=_SETTINGS.make_config(),
      resume=_RESUME.value,
      assets=_ASSETS.value,
      command=launch.command_line(),
    )
  with launch.save_on_interrupt(run.save):
    run.practice()
  if _REPORT.value:
    run.report()


if __name__ == '__main__':
  launch.run(main)
