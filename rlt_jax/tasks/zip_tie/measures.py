"""Measurements of the arms of one world of the zip tie task."""

import jax.numpy as jnp

from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.zip_tie.scene import Scene
from rlt_jax.tasks.zip_tie.state import arms, State
from rlt_jax.types import Array


def joint_positions(state: State) -> Array:
  """Returns the measured pose [..., A], rad and m."""
  return bench.to_joints(arms(state.qpos))


def joint_velocities(state: State) -> Array:
  """Returns the measured velocities [..., A], per s."""
  return bench.to_joints(arms(state.qvel))


def joints_proprio(state: State) -> Array:
  """Returns proprioception [..., P]: positions, then velocities."""
  parts = [joint_positions(state), joint_velocities(state)]
  return jnp.concatenate(parts, axis=-1)


def end_effector_proprio(scene: Scene, state: State) -> Array:
  """Returns proprioception [..., P] of `two_arm_bench.END_EFFECTOR_NAMES`."""
  return bench.end_effectors(
    scene.right, scene.left, joint_positions(state), joint_velocities(state)
  )
