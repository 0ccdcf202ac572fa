"""Flags of a run on an arm, shared by `robot` and `robot_cell`."""

from typing import Any, NamedTuple

from absl import flags

from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.robot.runtime import RuntimeConfig

from . import launch

flags.disclaim_key_flags()


class RunFlags(NamedTuple):
  """Named as the flags that `experiments.robot` takes."""

  minutes: flags.FlagHolder[float]
  num_base_episodes: flags.FlagHolder[int]
  num_final_episodes: flags.FlagHolder[int]
  vla_warmup_steps: flags.FlagHolder[int]
  seed: flags.FlagHolder[int]
  keep_pictures: flags.FlagHolder[bool]
  arm_spec: flags.FlagHolder[str]
  task: launch.TaskFlags

  def values(self) -> dict[str, Any]:
    """Returns the values of all but the task's flags, by name."""
    names = [name for name in self._fields if name != 'task']
    return {name: getattr(self, name).value for name in names}


class LoopFlags(NamedTuple):
  """Flags of the control loop alone."""

  preflight_only: flags.FlagHolder[bool]
  resume_after_s: flags.FlagHolder[float | None]
  wait_s: flags.FlagHolder[float]
  realtime: flags.FlagHolder[bool]
  resume: flags.FlagHolder[bool]
  shadow: flags.FlagHolder[bool]

  def runtime_config(self, run: RunFlags) -> RuntimeConfig:
    """Returns the settings of the loop's process.

    Raises:
      ValueError: a setting that does not fit.
    """
    return RuntimeConfig(
      plan=RunPlan(
        # Nothing is learned from what did not happen.
        minutes=0.0 if self.shadow.value else run.minutes.value,
        num_base_episodes=run.num_base_episodes.value,
        num_final_episodes=run.num_final_episodes.value,
        resume_after_s=self.resume_after_s.value,
      ),
      vla_warmup_steps=run.vla_warmup_steps.value,
      seed=run.seed.value,
      vla_wait_s=self.wait_s.value,
      realtime_priority=self.realtime.value,
      preflight_only=self.preflight_only.value,
      resume=self.resume.value,
      shadow=self.shadow.value,
      keep_pictures=run.keep_pictures.value,
    )


def check(
  station: flags.FlagHolder[str],
  workdir: flags.FlagHolder[str],
  run: RunFlags,
  loop: LoopFlags,
  *sim_only: flags.FlagHolder[Any],
) -> None:
  """Raises ValueError for flags that are missing, or would not be read.

  Args:
    station, workdir: of the run.
    run, loop: its other flags.
    *sim_only: flags that only the simulated station reads.
  """
  given = [x.name for x in (*sim_only, run.arm_spec) if x.present]
  given += run.task.given()
  if station.value != 'sim' and given:
    raise ValueError(f'Only --station=sim can have the flags {given}.')
  if not workdir.value and not loop.preflight_only.value:
    raise ValueError('--workdir must be given without --preflight_only.')
  wait = loop.resume_after_s.value
  if wait is not None and not wait >= 0.0:
    raise ValueError(f'resume_after_s must not be negative: {wait}.')


def define_resume() -> flags.FlagHolder[bool]:
  """Defines --resume for a run of a robot."""
  return flags.DEFINE_bool(
    'resume', False, 'Go on with the run in the workdir, with the same flags.'
  )


def define_loop() -> LoopFlags:
  """Defines how the control loop starts and resumes."""
  return LoopFlags(
    preflight_only=flags.DEFINE_bool(
      'preflight_only', False, 'Check the station and exit.'
    ),
    resume_after_s=flags.DEFINE_float(
      'resume_after_s',
      None,
      'Seconds that the arm must answer after a fault before it runs again; '
      'unset waits for the operator.',
    ),
    wait_s=flags.DEFINE_float(
      'wait_s', 30.0, 'Seconds to wait for the VLA server at the start.'
    ),
    realtime=flags.DEFINE_bool(
      'realtime', True, 'Request real-time priority for the control loop.'
    ),
    resume=define_resume(),
    shadow=flags.DEFINE_bool(
      'shadow',
      False,
      'Send nothing to the arm and report what would have been sent; no '
      'practice.',
    ),
  )


def define_run(
  *, num_base_episodes: int = 10, num_final_episodes: int = 10
) -> RunFlags:
  """Defines the plan of a run, its seed, and what is simulated.

  Args:
    num_base_episodes, num_final_episodes: default values of these flags.
  """
  return RunFlags(
    minutes=flags.DEFINE_float(
      'minutes',
      10.0,
      'Minutes of practice, counted in control steps.',
      lower_bound=0.0,
    ),
    num_base_episodes=flags.DEFINE_integer(
      'num_base_episodes',
      num_base_episodes,
      'Episodes of the VLA alone, before practice.',
      lower_bound=0,
    ),
    num_final_episodes=flags.DEFINE_integer(
      'num_final_episodes',
      num_final_episodes,
      'Episodes without exploration, after practice.',
      lower_bound=0,
    ),
    vla_warmup_steps=flags.DEFINE_integer(
      'vla_warmup_steps',
      6_000,
      'First control steps of practice, driven by the VLA.',
      lower_bound=0,
    ),
    seed=flags.DEFINE_integer(
      'seed', 0, 'Seed of networks, exploration and simulated start states.'
    ),
    keep_pictures=flags.DEFINE_bool(
      'keep_pictures',
      False,
      'Keep what the cameras show in practice, for experiments.export_dataset; '
      'the run says how much disk that takes.',
    ),
    arm_spec=launch.define_path(
      'arm_spec',
      '',
      "JSON file of the simulated arm; the shipped task's if empty.",
    ),
    task=launch.define_task(),
  )
