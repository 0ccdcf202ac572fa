"""Where the strap is, in the head's frame."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks.zip_tie.scene import Scene, SEGMENTS, STRAP_LENGTH
from rlt_jax.tasks.zip_tie.state import arms, BENDS, State
from rlt_jax.types import Array

# The strap's axes in the head's frame when it is aligned: turned about z.
ALIGNED = np.diag([-1.0, -1.0, 1.0])


class StrapPose(NamedTuple):
  """The strap in the head's frame, z outward from the middle of the mouth.

  points: [4, 3] m, its middle line: grasp, two joints, tip. mat: [3, 3], the
  axes of the grasped strap. bends: [2] rad, of its joints.
  """

  points: Array
  mat: Array
  bends: Array

  @property
  def tip(self) -> Array:
    """The tip [3], m."""
    return self.points[3]


def grasped(scene: Scene, state: State) -> tuple[Array, Array]:
  """Returns the tip [3] (m, world) of the straight strap, and its matrix."""
  return kinematics.tip_pose(
    scene.right, state.qpos[:6], state.strap_pos, state.strap_rot
  )


def mouth(scene: Scene, state: State) -> tuple[Array, Array]:
  """Returns the middle of the mouth [3] (m, world) and the head's matrix."""
  return kinematics.tip_pose(
    scene.head, arms(state.qpos)[8:14], state.head_pos, state.head_rot
  )


@full_precision
def pose(scene: Scene, state: State) -> StrapPose:
  """Returns the strap of one world in its head's frame."""
  end, mat = grasped(scene, state)
  point = end + STRAP_LENGTH * mat[:, 2]
  origin, head = mouth(scene, state)
  angles = jnp.append(0.0, jnp.cumsum(state.qpos[BENDS]))
  points = [point]
  for angle, length in zip(angles, SEGMENTS, strict=True):
    along = jnp.sin(angle) * mat[:, 0] + jnp.cos(angle) * mat[:, 2]
    point = point - length * along
    points.append(point)
  return StrapPose(
    (jnp.stack(points) - origin) @ head, head.T @ mat, state.qpos[BENDS]
  )


@full_precision
def true_pose(scene: Scene, state: State) -> jax.Array:
  """Returns the true pose [6] of the tip in the head's frame.

  Position, m, z outward from the middle of the mouth; then the rotation vector
  of the grasped strap from the aligned one, rad. No policy reads it.
  """
  now = pose(scene, state)
  turn = kinematics.small_rotvec(now.mat @ ALIGNED.T)
  return jnp.concatenate([now.tip, turn])
