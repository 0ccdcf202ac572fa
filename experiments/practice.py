"""Practices a task and writes the report.

  python -m experiments.practice --workdir=runs/a
  python -m experiments.practice --workdir=runs/b --set=agent.beta=0.01
  python -m experiments.practice --workdir=runs/a --resume

It evaluates the VLA alone, practices with evaluations on the way, evaluates
again, and writes the workdir: config.json, metrics.jsonl, TensorBoard events,
checkpoints/, report.md, report.json, the plots and film.gif.

With --resume the run goes on from its last checkpoint, with the settings in its
config.json. Then --set can change how long it is, its evaluations and its
checkpoints.

Cost: 8 to 13 minutes for 15 robot minutes on two cores; docs/performance.md
has more. Results: docs/results.md.
"""

import pathlib

from absl import flags

from . import launch

_WORKDIR = launch.define_workdir()
_SETTINGS = launch.define_settings()
_RESUME = launch.define_resume()
_ASSETS = launch.define_assets()
_REPORT = flags.DEFINE_bool(
  'report', True, 'Write report, plots and video at the end.'
)


def main() -> None:
  """Starts or resumes a run."""
  from rlt_jax.training import practice_run

  workdir = pathlib.Path(_WORKDIR.value)
  with launch.user_errors():
    run = practice_run.PracticeRun(
      workdir=workdir,
      config=_SETTINGS.make_config(workdir if _RESUME.value else None),
      resume=_RESUME.value,
      assets=_ASSETS.value,
      command=launch.command_line(),
    )
  with launch.resumable(run.is_saved):
    run.practice()
    if _REPORT.value:
      run.report()


if __name__ == '__main__':
  launch.run(main)
