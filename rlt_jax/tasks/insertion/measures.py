"""Measurements of one world of an insertion task."""

from typing import NamedTuple

import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks.bench_sensors import Sensors
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.insertion.verdict import TipPose
from rlt_jax.types import Array


def joint_positions(state: State) -> Array:
  """Returns the true pose [..., A], rad and m."""
  return bench.to_joints(state.qpos)


def joint_rates(state: State) -> Array:
  """Returns the true rates [..., A] of the joints, per s."""
  return bench.to_joints(state.qvel)


TRUE = Sensors(joint_positions, joint_rates)


class TipInSocket(NamedTuple):
  """The tip relative to the socket.

  depth: [] m, 0 at the mouth, positive inside. lateral: [2] m, in the mouth's
  plane. tilt: [] rad, between the axes.
  """

  depth: Array
  lateral: Array
  tilt: Array


@full_precision
def tip_pose(scene: Scene, state: State) -> TipPose:
  """Returns the pose of the plug's tip in the socket's frame."""
  pos, mat = kinematics.tip_pose(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot
  )
  socket = kinematics.rotation(state.socket_rot)
  return TipPose(socket.T @ (pos - state.socket_pos), socket.T @ mat)


def tip_in_socket(scene: Scene, state: State) -> TipInSocket:
  """Measures the plug's tip in the socket's frame, from poses alone."""
  pos, mat = tip_pose(scene, state)
  tilt = jnp.arccos(jnp.clip(mat[2, 2], -1.0, 1.0))
  return TipInSocket(-pos[2], pos[:2], tilt)


@full_precision
def plug_in_socket(scene: Scene, state: State) -> Array:
  """Returns the true pose [6] of the plug's tip in the socket's frame.

  Position, m, z outward from the mouth's center; then the rotation vector,
  rad, from the aligned orientation. Privileged: no policy reads it.
  """
  pos, mat = tip_pose(scene, state)
  turn = mat @ jnp.asarray(scene.right.base_mat).T
  return jnp.concatenate([pos, kinematics.small_rotvec(turn)])
