"""What tasks of the two-arm bench tell a policy of themselves."""

from typing import Any

from rlt_jax.sim import camera, two_arm_scene
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.bench_config import BenchConfig, max_reach
from rlt_jax.tasks.task import numbers, TaskSpec


def make(
  config: BenchConfig, cameras: tuple[camera.CameraSpec, ...], **others: Any
) -> TaskSpec:
  """Returns the spec of a task; no simulator is built.

  Args:
    config: of the task, with its `name`.
    cameras: that a policy sees through.
    **others: fields of `TaskSpec` that the arms and the settings do not give.
  """
  joints = config.proprio == 'joints'
  low, high = two_arm_scene.joint_limits()
  return TaskSpec(
    name=config.name,
    control_hz=config.control_hz,
    time_limit=config.time_limit,
    joint_names=bench.JOINTS,
    joint_units=bench.JOINT_UNITS,
    joint_low=numbers(low),
    joint_high=numbers(high),
    max_reach=numbers(max_reach(config)),
    proprio_names=bench.PROPRIO_NAMES if joints else bench.END_EFFECTOR_NAMES,
    proprio_has_joints=joints,
    cameras=tuple(view.name for view in cameras),
    **others,
  )
