"""Between the robot's joints and the entries of a checkpoint.

Letters as in `rlt_jax.types`; n counts the joints that the checkpoint moves,
in its own order and units.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array
from rlt_jax.vlas.openpi.config import JointConfig

# The crank of ALOHA's gripper, m, and the angles of its fully closed and fully
# open encoder counts, rad.
_HORN, _ROD = 0.022, 0.036
_CLOSED, _OPEN = 0.5476, 1.6296


class RobotMap(NamedTuple):
  """Maps states and actions of n entries; all arrays [n].

  index: of each entry in the robot's order. scale, offset: an entry is scale *
  the robot's value + offset. delta: its actions count from the state. crank: it
  is a gripper of ALOHA.
  """

  index: np.ndarray
  scale: np.ndarray
  offset: np.ndarray
  delta: np.ndarray
  crank: np.ndarray

  def state(self, pose: Array) -> Array:
    """Maps the robot's pose [..., A] to a state [..., n], not normalized."""
    x = pose[..., self.index] * self.scale + self.offset
    angle = (crank_angle(x) - _CLOSED) / (_OPEN - _CLOSED)
    return jnp.where(self.crank, angle, x) if self.crank.any() else x

  def commands(self, actions: Array, pose: Array) -> Array:
    """Maps actions [..., H, n] to joint targets [..., H, A].

    Args:
      actions: not normalized.
      pose: [..., A] of the robot at the chunk's start. Joints that the
        checkpoint does not move stay there.
    """
    state = self.state(pose)[..., None, :]
    x = jnp.where(self.delta, actions + state, actions)
    if self.crank.any():  # openpi's models write radians above the closed angle
      x = jnp.where(self.crank, crank_position(x + _CLOSED), x)
    x = (x - self.offset) / self.scale
    stay = jnp.broadcast_to(
      pose[..., None, :], (*actions.shape[:-1], pose.shape[-1])
    )
    return stay.at[..., self.index].set(x)

  def actions(self, commands: Array, pose: Array) -> Array:
    """Maps joint targets [..., H, A] to actions [..., H, n], not normalized.

    It undoes `commands`, for what the checkpoint learns from.

    Args:
      commands: rad, m.
      pose: [..., A] of the robot at the chunk's start.
    """
    x = commands[..., self.index] * self.scale + self.offset
    if self.crank.any():
      x = jnp.where(self.crank, crank_angle(x) - _CLOSED, x)
    return jnp.where(self.delta, x - self.state(pose)[..., None, :], x)


def make(joints: Sequence[JointConfig], order: Sequence[str]) -> RobotMap:
  """Returns the map of a configuration's joints.

  Args:
    joints: of the checkpoint, in its order.
    order: [A] names of all joints of the robot.
  """
  return RobotMap(
    index=np.array([order.index(joint.name) for joint in joints]),
    scale=np.array([joint.scale for joint in joints], np.float32),
    offset=np.array([joint.offset for joint in joints], np.float32),
    delta=np.array([joint.delta for joint in joints]),
    crank=np.array([joint.gripper == 'aloha' for joint in joints]),
  )


def crank_angle(position: Array) -> Array:
  """Returns the angle, rad, of ALOHA's gripper from its fingers' place, m."""
  position = jnp.maximum(position, 1e-4)  # also of joints that are no gripper
  sine = _HORN**2 + position**2 - _ROD**2
  return jnp.arcsin(jnp.clip(sine / (2.0 * _HORN * position), -1.0, 1.0))


def crank_position(angle: Array) -> Array:
  """Returns the fingers' place, m, of an angle, rad; `crank_angle` undone."""
  along = _HORN * jnp.sin(angle)
  return along + jnp.sqrt(_ROD**2 - (_HORN * jnp.cos(angle)) ** 2)


class Travel(NamedTuple):
  """Of ALOHA's gripper: fingers when closed, m; their way, m; angle, rad."""

  low: float
  width: float
  angle: float


def gripper_travel() -> Travel:
  """Returns how far ALOHA's gripper opens."""
  low, high = (float(crank_position(np.float32(x))) for x in (_CLOSED, _OPEN))
  return Travel(low, high - low, _OPEN - _CLOSED)
