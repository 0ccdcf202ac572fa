"""Forward and inverse kinematics of a six-joint arm, as pure functions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array


class Chain(NamedTuple):
  """Constants of an arm's kinematic chain, base to hand.

  base_pos: [3] m, world. base_mat: [3, 3]. offsets: [6, 3] m, each body in its
  parent; axes: [6, 3] joint axes in the body's own frame. grasp: [3] m, the
  nominal tool origin in the hand frame. tool_length: m, from there to the
  tool's tip, along the tool's -z.
  """

  base_pos: np.ndarray
  base_mat: np.ndarray
  offsets: np.ndarray
  axes: np.ndarray
  grasp: np.ndarray
  tool_length: float


def rotation(rotvec: Array) -> Array:
  """Returns the matrix [3, 3] of a rotation vector [3], rad."""
  x, y, z = rotvec
  zero = jnp.zeros_like(x)
  cross = jnp.stack(
    [
      jnp.stack([zero, -z, y]),
      jnp.stack([z, zero, -x]),
      jnp.stack([-y, x, zero]),
    ]
  )
  # sinc keeps the value and the gradient finite at zero.
  angle = jnp.sqrt(jnp.sum(rotvec**2) + 1e-12)
  sin = jnp.sin(angle) / angle
  cos = (1.0 - jnp.cos(angle)) / angle**2
  return jnp.eye(3) + sin * cross + cos * (cross @ cross)


def quaternion(rotvec: Array) -> Array:
  """Returns the unit quaternion [4] (w first) of a rotation vector [3], rad."""
  angle = jnp.sqrt(jnp.sum(rotvec**2) + 1e-12)
  return jnp.concatenate(
    [
      jnp.cos(angle / 2)[None],
      jnp.sin(angle / 2) / angle * rotvec,
    ]
  )


def small_rotvec(matrix: Array) -> Array:
  """Returns the rotation vector [3], rad, of a matrix [3, 3]; below 90°."""
  axis = 0.5 * jnp.stack(
    [
      matrix[2, 1] - matrix[1, 2],
      matrix[0, 2] - matrix[2, 0],
      matrix[1, 0] - matrix[0, 1],
    ]
  )
  sin = jnp.sqrt(jnp.sum(axis**2) + 1e-12)
  return axis * jnp.arcsin(jnp.minimum(sin, 1.0)) / sin


def hand_pose(chain: Chain, joints: Array) -> tuple[Array, Array]:
  """Returns the hand's world position [3] and matrix [3, 3].

  Args:
    chain: constants of the arm.
    joints: [6] rad.
  """
  pos, mat = jnp.asarray(chain.base_pos), jnp.asarray(chain.base_mat)
  for i in range(6):
    pos = pos + mat @ chain.offsets[i]
    mat = mat @ rotation(joints[i] * chain.axes[i])
  return pos, mat


def tip_pose(
  chain: Chain, joints: Array, grasp_pos: Array, grasp_rot: Array
) -> tuple[Array, Array]:
  """Returns the plug tip's world position [3] (m) and plug matrix [3, 3].

  Args:
    chain: constants of the arm.
    joints: [6] rad.
    grasp_pos: [3] m, the plug's offset from the nominal grasp, hand frame.
    grasp_rot: [3] rad, its rotation vector in the grasp.
  """
  pos, mat = hand_pose(chain, joints)
  plug_mat = mat @ rotation(grasp_rot)
  plug_pos = pos + mat @ (jnp.asarray(chain.grasp) + grasp_pos)
  return plug_pos - chain.tool_length * plug_mat[:, 2], plug_mat


def tip_displacement(chain: Chain, joints: Array, goal: Array) -> Array:
  """Returns how the tool's tip moves from one pose to another, [6].

  In the tip's frame at `joints`: displacement, m, then rotation vector, rad.
  The plug is taken to be in its nominal grasp, as on a robot, where the true
  grasp is unknown.

  Args:
    chain: constants of the arm.
    joints, goal: [6] rad, turned by under 90 degrees between them.
  """
  nominal = jnp.zeros(3), jnp.zeros(3)
  pos, mat = tip_pose(chain, joints, *nominal)
  goal_pos, goal_mat = tip_pose(chain, goal, *nominal)
  turn = small_rotvec(mat.T @ goal_mat)
  return jnp.concatenate([mat.T @ (goal_pos - pos), turn])


def solve_tip(
  chain: Chain,
  joints: Array,
  grasp_pos: Array,
  grasp_rot: Array,
  target_pos: Array,
  target_mat: Array,
  iterations: int,
) -> Array:
  """Returns joints [6] that bring the tip to a pose, by Newton's method.

  Args:
    chain: constants of the arm.
    joints: [6] rad, the starting guess.
    grasp_pos, grasp_rot: as in `tip_pose`.
    target_pos: [3] m, target_mat: [3, 3], world.
    iterations: Newton steps; one is enough for a target a few mm away.
  """

  def error(q: Array) -> Array:
    pos, mat = tip_pose(chain, q, grasp_pos, grasp_rot)
    turn = small_rotvec(target_mat @ mat.T)
    # 0.1 m per radian gives both halves the same magnitude.
    return jnp.concatenate([target_pos - pos, 0.1 * turn])

  for _ in range(iterations):
    jacobian = jax.jacfwd(error)(joints)
    joints = joints - jnp.linalg.solve(jacobian, error(joints))
  return joints


def tip_force(
  chain: Chain,
  joints: Array,
  grasp_pos: Array,
  grasp_rot: Array,
  torques: Array,
) -> Array:
  """Returns the force [3] (N, world) at the tip that causes joint torques.

  Args:
    chain: constants of the arm.
    joints: [6] rad.
    grasp_pos, grasp_rot: as in `tip_pose`.
    torques: [6] N m, or [..., 6].
  """

  def twist(q: Array) -> Array:
    pos, mat = tip_pose(chain, joints + q, grasp_pos, grasp_rot)
    _, now = tip_pose(chain, joints, grasp_pos, grasp_rot)
    return jnp.concatenate([pos, small_rotvec(mat @ now.T)])

  jacobian = jax.jacfwd(twist)(jnp.zeros(6))
  return torques @ jnp.linalg.inv(jacobian)[:, :3]
