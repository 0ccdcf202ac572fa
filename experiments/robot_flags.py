"""Flags of a run on an arm, shared by `robot` and `robot_cell`."""

from typing import Any, NamedTuple

from absl import flags

from experiments import launch
from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.robot.runtime import RuntimeConfig

flags.disclaim_key_flags()


class RunFlags(NamedTuple):
  """Named as the flags that `experiments.robot` takes."""

  minutes: flags.FlagHolder[float]
  num_base_episodes: flags.FlagHolder[int]
  num_final_episodes: flags.FlagHolder[int]
  vla_warmup_steps: flags.FlagHolder[int]
  seed: flags.FlagHolder[int]
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

  def runtime_config(self, run: RunFlags) -> RuntimeConfig:
    """Returns the settings of the loop's process.

    Raises:
      ValueError: a setting that does not fit.
    """
    return RuntimeConfig(
      plan=RunPlan(
        minutes=run.minutes.value,
        num_base_episodes=run.num_base_episodes.value,
        num_final_episodes=run.num_final_episodes.value,
        resume_after_s=self.resume_after_s.value,
      ),
      vla_warmup_steps=run.vla_warmup_steps.value,
      seed=run.seed.value,
      vla_wait_s=self.wait_s.value,
      realtime_priority=self.realtime.value,
      preflight_only=self.preflight_only.value,
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
  )


def define_run() -> RunFlags:
  """Defines the plan of a run, its seed, and what is simulated."""
  return RunFlags(
    minutes=flags.DEFINE_float(
      'minutes',
      10.0,
      'Minutes of practice, counted in control steps.',
      lower_bound=0.0,
    ),
    num_base_episodes=flags.DEFINE_integer(
      'num_base_episodes',
      10,
      'Episodes of the VLA alone, before practice.',
      lower_bound=0,
    ),
    num_final_episodes=flags.DEFINE_integer(
      'num_final_episodes',
      10,
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
    arm_spec=flags.DEFINE_string(
      'arm_spec',
      '',
      "JSON file of the simulated arm; the shipped task's if empty.",
    ),
    task=launch.define_task(),
  )
