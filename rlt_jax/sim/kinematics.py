"""Forward and inverse kinematics of a six-joint arm, as pure functions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim.precision import full_precision
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


@full_precision
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


def quaternion_product(a: Array, b: Array) -> Array:
  """Returns the product of two quaternions [4], w first."""
  w = a[0] * b[0] - a[1:] @ b[1:]
  return jnp.append(w, a[0] * b[1:] + b[0] * a[1:] + jnp.cross(a[1:], b[1:]))


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


@full_precision
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


class HandMotion(NamedTuple):
  """Pose and motion of the point between the fingertips, in the world.

  position: [..., 3] m. turn: [..., 3] rotation vector from the home pose, rad,
  below 180 degrees. velocity: [..., 3] m/s. spin: [..., 3] rad/s.
  """

  position: Array
  turn: Array
  velocity: Array
  spin: Array


@full_precision
def hand_motion(chain: Chain, joints: Array, rates: Array) -> HandMotion:
  """Returns where a hand is and how it moves, for NumPy or JAX arrays.

  Args:
    chain: constants of the arm; its grasp is the point.
    joints, rates: [..., 6] rad and rad/s.
  """
  xp = np if isinstance(joints, np.ndarray) else jnp
  dtype = joints.dtype
  pos = xp.asarray(chain.base_pos, dtype)
  mat = xp.asarray(chain.base_mat, dtype)
  spin = xp.zeros(joints.shape[:-1] + (3,), dtype)
  pivots, axes = [], []
  for i in range(6):
    pos = pos + mat @ xp.asarray(chain.offsets[i], dtype)
    axis = mat @ xp.asarray(chain.axes[i], dtype)
    pivots.append(pos)
    axes.append(axis)
    spin = spin + axis * rates[..., i : i + 1]
    mat = mat @ _axis_rotations(xp, chain.axes[i], joints[..., i])
  pos = pos + mat @ xp.asarray(chain.grasp, dtype)
  velocity = sum(
    xp.cross(axis, pos - pivot) * rates[..., i : i + 1]
    for i, (axis, pivot) in enumerate(zip(axes, pivots, strict=True))
  )
  home = xp.asarray(chain.base_mat.T, dtype)
  return HandMotion(pos, _rotvecs(xp, mat @ home), velocity, spin)


def _axis_rotations(xp: Any, axis: np.ndarray, angle: Array) -> Array:
  """Returns matrices [..., 3, 3] of angles [...], rad, about a unit axis."""
  x, y, z = axis
  cross = xp.asarray([[0, -z, y], [z, 0, -x], [-y, x, 0]], angle.dtype)
  angle = angle[..., None, None]
  flip = (1 - xp.cos(angle)) * (cross @ cross)
  return xp.eye(3, dtype=angle.dtype) + xp.sin(angle) * cross + flip


def _rotvecs(xp: Any, mat: Array) -> Array:
  """Returns rotation vectors [..., 3], rad, of matrices below 180 degrees."""
  twice = xp.stack(
    [
      mat[..., 2, 1] - mat[..., 1, 2],
      mat[..., 0, 2] - mat[..., 2, 0],
      mat[..., 1, 0] - mat[..., 0, 1],
    ],
    axis=-1,
  )
  sin = xp.sqrt(xp.sum(twice**2, axis=-1, keepdims=True)) / 2
  trace = mat[..., 0, 0] + mat[..., 1, 1] + mat[..., 2, 2]
  angle = xp.arctan2(sin, (trace[..., None] - 1) / 2)
  # At zero the angle is its sine.
  return twice / 2 * xp.where(sin > 1e-6, angle / xp.maximum(sin, 1e-6), 1.0)


@full_precision
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


@full_precision
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


@full_precision
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


@full_precision
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
