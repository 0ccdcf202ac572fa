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

from experiments import launch
from rlt_jax.robot import robot_setup, runtime
from rlt_jax.robot.run_schedule import RunPlan

_STATION = flags.DEFINE_string(
  'station',
  None,
  "JSON file of the station, or 'sim' for a simulated arm.",
  required=True,
)
_WORKDIR = launch.define_workdir(
  'New folder for the run; not needed with --preflight_only.', required=False
)
_PREFLIGHT = flags.DEFINE_bool(
  'preflight_only', False, 'Check the station and exit.'
)
_MINUTES = flags.DEFINE_float(
  'minutes',
  10.0,
  'Minutes of practice, counted in control steps.',
  lower_bound=0.0,
)
_BASE = flags.DEFINE_integer(
  'num_base_episodes',
  10,
  'Episodes of the VLA alone, before practice.',
  lower_bound=0,
)
_FINAL = flags.DEFINE_integer(
  'num_final_episodes',
  10,
  'Episodes without exploration, after practice.',
  lower_bound=0,
)
_WARMUP = flags.DEFINE_integer(
  'vla_warmup_steps',
  6_000,
  'First control steps of practice, driven by the VLA.',
  lower_bound=0,
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Seed of exploration and, in simulation, of start states.'
)
_RESUME_S = flags.DEFINE_float(
  'resume_after_s',
  None,
  'Seconds that the arm must answer after a fault before it runs again; unset '
  'waits for the operator.',
)
_WAIT_S = flags.DEFINE_float(
  'wait_s', 30.0, 'Seconds to wait for the VLA server at the start.'
)
_REALTIME = flags.DEFINE_bool(
  'realtime', True, 'Request real-time priority for the control loop.'
)
_BUNDLE = flags.DEFINE_string(
  'bundle', '', 'Folder of the bundle; only with --station=sim.'
)
_VLA = flags.DEFINE_string(
  'vla', 'ws://127.0.0.1:8000', 'VLA server; only with --station=sim.'
)
_TASK = launch.define_task()
_ARM_SPEC = flags.DEFINE_string(
  'arm_spec',
  '',
  "JSON file of the simulated arm; the shipped task's if empty. Only with "
  '--station=sim.',
)


def _build(clock, stack) -> robot_setup.RobotSetup:
  if _STATION.value != 'sim':
    if given := _TASK.given():
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
    seed=_SEED.value,
    task_name=_TASK.task.value,
    task_config=_TASK.make_config(),
    arm_spec=_ARM_SPEC.value,
  )


def _report(run: runtime.FinishedRun) -> None:
  from rlt_jax.reporting import robot_report

  robot_report.write_run(_WORKDIR.value, run, command=launch.command_line())


def main() -> None:
  """Does the preflight and runs the plan."""
  with launch.user_errors(*runtime.ERRORS):
    plan = RunPlan(
      minutes=_MINUTES.value,
      num_base_episodes=_BASE.value,
      num_final_episodes=_FINAL.value,
      resume_after_s=_RESUME_S.value,
    )
    config = runtime.RuntimeConfig(
      plan=plan,
      vla_warmup_steps=_WARMUP.value,
      seed=_SEED.value,
      vla_wait_s=_WAIT_S.value,
      realtime_priority=_REALTIME.value,
      preflight_only=_PREFLIGHT.value,
    )
    if not runtime.run_robot(_build, _WORKDIR.value, config, report=_report):
      raise SystemExit(1)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
