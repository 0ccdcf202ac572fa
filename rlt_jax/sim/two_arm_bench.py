"""Joints of the two-arm bench, shared by every task on it.

The order is always right j1 to j6 and gripper, then left. A gripper's value is
its opening from the grasp, m; two fingers drive it.
"""

import jax
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim.kinematics import Chain
from rlt_jax.types import Array

SIDES = ('right', 'left')
JOINTS = tuple(
  f'{side}_{joint}'
  for side in SIDES
  for joint in ('j1', 'j2', 'j3', 'j4', 'j5', 'j6', 'gripper')
)
ACTION_DIM = len(JOINTS)  # 14: twice six joints and a gripper.
JOINT_UNITS = tuple(
  'm' if name.endswith('gripper') else 'rad' for name in JOINTS
)
PROPRIO_NAMES = tuple(
  f'{joint}.{part}' for part in ('pos', 'vel') for joint in JOINTS
)
PROPRIO_DIM = len(PROPRIO_NAMES)
# Of the point between a hand's fingertips: its place on the bench, m, its
# rotation vector from home, rad, and the gripper's opening, m; then per s.
END_EFFECTOR_NAMES = tuple(
  f'{side}_{entry}.{part}'
  for part in ('pos', 'vel')
  for side in SIDES
  for entry in ('x', 'y', 'z', 'rx', 'ry', 'rz', 'gripper')
)
_SIDE = ACTION_DIM // len(SIDES)


def to_actuators(joints: Array) -> Array:
  """Maps joint values [..., A] to [..., 16], with two fingers per gripper."""
  xp = np if isinstance(joints, np.ndarray) else jax.numpy
  right, left = joints[..., :7], joints[..., 7:]
  return xp.concatenate([right, right[..., 6:], left, left[..., 6:]], axis=-1)


def to_joints(positions: Array) -> Array:
  """Maps [..., 16] to joint values [..., A]; a gripper is its fingers' mean."""
  xp = np if isinstance(positions, np.ndarray) else jax.numpy
  parts = []
  for start in (0, 8):
    parts.append(positions[..., start : start + 6])
    parts.append(
      positions[..., start + 6 : start + 8].mean(axis=-1, keepdims=True)
    )
  return xp.concatenate(parts, axis=-1)


def end_effectors(
  right: Chain, left: Chain, positions: Array, velocities: Array
) -> Array:
  """Returns the poses of both hands [..., P], as `END_EFFECTOR_NAMES`.

  Args:
    right, left: the arms.
    positions, velocities: [..., A] measured joints (rad, m; per s).
  """
  xp = np if isinstance(positions, np.ndarray) else jax.numpy
  poses, rates = [], []
  for chain, start in ((right, 0), (left, _SIDE)):
    arm = slice(start, start + _SIDE - 1)
    gripper = slice(arm.stop, arm.stop + 1)
    motion = kinematics.hand_motion(
      chain, positions[..., arm], velocities[..., arm]
    )
    poses += [motion.position, motion.turn, positions[..., gripper]]
    rates += [motion.velocity, motion.spin, velocities[..., gripper]]
  return xp.concatenate([*poses, *rates], axis=-1)
