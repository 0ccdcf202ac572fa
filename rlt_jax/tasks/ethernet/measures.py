"""Measurements of one world of the Ethernet task."""

from typing import NamedTuple

import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.ethernet.scene import Scene
from rlt_jax.tasks.ethernet.state import State
from rlt_jax.types import Array


def joint_positions(state: State) -> Array:
  """Returns the measured pose [..., A], rad and m."""
  return bench.to_joints(state.qpos)


def proprio(state: State) -> Array:
  """Returns proprioception [..., P]: positions, then velocities."""
  return jnp.concatenate(
    [bench.to_joints(state.qpos), bench.to_joints(state.qvel)],
    axis=-1,
  )


class TipInSocket(NamedTuple):
  """The tip relative to the socket.

  depth: [] m, 0 at the mouth, positive inside. lateral: [2] m, in the mouth's
  plane. tilt: [] rad, between the axes.
  """

  depth: Array
  lateral: Array
  tilt: Array


def _tip_and_socket(scene: Scene, state: State) -> tuple[Array, Array, Array]:
  """Returns the tip [3] in the socket's frame, m, and the matrices [3, 3] of
  the tip and of the socket in the world."""
  pos, mat = kinematics.tip_pose(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot
  )
  socket = kinematics.rotation(state.socket_rot)
  return socket.T @ (pos - state.socket_pos), mat, socket


def tip_in_socket(scene: Scene, state: State) -> TipInSocket:
  """Measures the plug's tip in the socket's frame, from poses alone."""
  rel, mat, socket = _tip_and_socket(scene, state)
  cos = jnp.clip(jnp.dot(mat[:, 2], socket[:, 2]), -1.0, 1.0)
  return TipInSocket(-rel[2], rel[:2], jnp.arccos(cos))


def plug_in_socket(scene: Scene, state: State) -> Array:
  """Returns the true pose [6] of the plug's tip in the socket's frame.

  Position, m, z outward from the mouth's center; then the rotation vector,
  rad, from the aligned orientation. Privileged: no policy reads it.
  """
  rel, mat, socket = _tip_and_socket(scene, state)
  turn = socket.T @ mat @ jnp.asarray(scene.right.base_mat).T
  return jnp.concatenate([rel, kinematics.small_rotvec(turn)])
