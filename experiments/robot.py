"""Runs a robot: a preflight, then episodes until the practice time is over.

  python -m experiments.robot --station=stations/bench.json --workdir=runs/arm
  python -m experiments.robot --station=stations/bench.json --preflight_only
  python -m experiments.robot --station=sim --bundle=bundles/a --workdir=runs/b

Start `experiments.serve_vla` before, and for practice the learner,
`experiments.run_learner`, with --journal=WORKDIR/journal and
--workdir=WORKDIR/learner; `make robot` does all of it with a simulated arm.
Set OMP_NUM_THREADS=1. Ctrl-C, SIGTERM and SIGHUP end the run after this control
step: the arm holds, and journal and report are written. The same command with
--resume goes on, also after a kill.

Cost: --minutes of practice and the episodes around it, in real time.
"""

from rlt_jax.robot import robot_setup, runtime

from . import launch, robot_flags

_STATION = launch.define_path(
  'station', None, "JSON file, or 'sim' for a simulated arm.", required=True
)
_WORKDIR = launch.define_workdir(
  'Folder for the run, new without --resume; --preflight_only needs none.',
  required=False,
)
_RUN, _LOOP = robot_flags.define_run(), robot_flags.define_loop()
_BUNDLE = launch.define_path(
  'bundle', '', 'Folder of the bundle; only with --station=sim.'
)
_VLA = launch.define_path(
  'vla', 'ws://127.0.0.1:8000', 'VLA server; only with --station=sim.'
)


def _build(clock, stack) -> robot_setup.RobotSetup:
  if _STATION.value != 'sim':
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
  command = launch.command_line()
  try:
    from rlt_jax.reporting import robot_report
  except ImportError as error:
    print(f'No report: {error}. Install scipy, matplotlib and pillow.')
  else:
    robot_report.write_run(_WORKDIR.value, run, command=command)
  if run.run.stop:
    flag = '' if _LOOP.resume.value else ' --resume'
    print(f'Continue with: {command}{flag}', flush=True)


def main() -> None:
  """Does the preflight and runs the plan."""
  with launch.user_errors(*runtime.ERRORS):
    robot_flags.check(_STATION, _WORKDIR, _RUN, _LOOP, _BUNDLE, _VLA)
    config = _LOOP.runtime_config(_RUN)
    if not runtime.run_robot(_build, _WORKDIR.value, config, report=_report):
      raise SystemExit(1)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
