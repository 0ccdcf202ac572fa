"""Runs a robot: a preflight, then episodes until the practice time is over.

  python -m experiments.robot --station=stations/bench.json --workdir=runs/arm
  python -m experiments.robot --station=stations/bench.json --preflight_only
  python -m experiments.robot --station=sim --bundle=bundles/a \
      --workdir=runs/sim_arm --minutes=5

Start `experiments.serve_vla` before, and for practice the learner,
`experiments.run_learner`, with --journal=WORKDIR/journal and
--workdir=WORKDIR/learner; `make robot` does all of it with a simulated arm.
Set OMP_NUM_THREADS=1. Ctrl-C ends the run after this control step: the arm
holds, and journal and report are written.
"""

from absl import flags

from experiments import launch, robot_flags
from rlt_jax.robot import robot_setup, runtime

_STATION = flags.DEFINE_string(
  'station', None, "JSON file, or 'sim' for a simulated arm.", required=True
)
_WORKDIR = launch.define_workdir(
  'New folder for the run; not needed with --preflight_only.', required=False
)
_RUN, _LOOP = robot_flags.define_run(), robot_flags.define_loop()
_BUNDLE = flags.DEFINE_string(
  'bundle', '', 'Folder of the bundle; only with --station=sim.'
)
_VLA = flags.DEFINE_string(
  'vla', 'ws://127.0.0.1:8000', 'VLA server; only with --station=sim.'
)


def _build(clock, stack) -> robot_setup.RobotSetup:
  if _STATION.value != 'sim':
    if given := _RUN.task.given():
      raise ValueError(
        'A task can be given only with --station=sim; remove the flags '
        f'{given}.'
      )
    return robot_setup.build(_STATION.value, clock, stack)
  from rlt_jax.sim_robot import sim_station
  from rlt_jax.training.compilation_cache import keep_compiled

  keep_compiled()
  return sim_station.build(
    clock,
    stack,
    bundle=_BUNDLE.value,
    vla=_VLA.value,
    seed=_RUN.seed.value,
    task_name=_RUN.task.task.value,
    task_config=_RUN.task.make_config(),
    arm_spec=_RUN.arm_spec.value,
  )


def _report(run: runtime.FinishedRun) -> None:
  from rlt_jax.reporting import robot_report

  robot_report.write_run(_WORKDIR.value, run, command=launch.command_line())


def main() -> None:
  """Does the preflight and runs the plan."""
  with launch.user_errors(*runtime.ERRORS):
    config = _LOOP.runtime_config(_RUN)
    if not runtime.run_robot(_build, _WORKDIR.value, config, report=_report):
      raise SystemExit(1)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
