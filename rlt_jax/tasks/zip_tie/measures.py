"""Measurements of the arms of one world of the zip tie task."""

from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.bench_sensors import Sensors
from rlt_jax.tasks.zip_tie.state import arms, State
from rlt_jax.types import Array


def joint_positions(state: State) -> Array:
  """Returns the true pose [..., A], rad and m."""
  return bench.to_joints(arms(state.qpos))


def joint_rates(state: State) -> Array:
  """Returns the true rates [..., A], per s."""
  return bench.to_joints(arms(state.qvel))


TRUE = Sensors(joint_positions, joint_rates)
