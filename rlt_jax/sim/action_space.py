"""The delta action space: maps normalized chunks to joint commands and back.

There are two definitions of "delta":

* `offset`: each step of a chunk is an offset from the measured pose at the
  chunk's start. A change of one entry has the same effect at every step.
* `increment`: each step is the difference from the command before it (the
  first, from the measured pose). A change at one step remains in all later
  ones, as single-step methods need it.

One normalized unit of an entry is the standard deviation of that entry over
the demonstrations' chunks of C steps. Zero always means no motion.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array

MODES = ('offset', 'increment')

# The demonstrated deviation of a resting joint is almost zero; dividing by it
# would turn sensor noise into large actions.
_ANGLE_FLOOR = 1e-3  # rad, a third of a millimeter at the tip
_GRIPPER_FLOOR = 2e-4  # m

_SIDE = 7  # entries per side: six joints, then the gripper


class ActionSpace(NamedTuple):
  """scale: [A] rad (grippers m) per normalized unit. mode: one of MODES."""

  scale: np.ndarray
  mode: str = 'offset'

  def decode(self, chunk: Array, pose: Array) -> Array:
    """Returns commands [C, A] (rad, m) of a chunk [C, A] from pose [A]."""
    steps = chunk * self.scale
    if self.mode == 'increment':
      steps = jnp.cumsum(steps, axis=-2)
    return pose[..., None, :] + steps

  def encode(self, commands: Array, pose: Array) -> Array:
    """Returns the chunk [C, A] of commands [C, A] from pose [A]."""
    steps = commands - pose[..., None, :]
    if self.mode == 'increment':
      first = steps[..., :1, :]
      steps = jnp.concatenate([first, jnp.diff(steps, axis=-2)], axis=-2)
    return steps / self.scale


def fit(
  commands: np.ndarray, pose: np.ndarray, *, mode: str = 'offset'
) -> ActionSpace:
  """Measures the unit of each entry on demonstrated chunks.

  Args:
    commands: [B, C, A] rad, m.
    pose: [B, A] measured pose at each chunk's start.
    mode: one of MODES.

  Raises:
    ValueError: unknown mode, or shapes that do not fit.
  """
  if mode not in MODES:
    raise ValueError(f'mode must be one of {MODES}: {mode!r}.')
  if commands.ndim != 3 or pose.shape != commands.shape[::2]:
    raise ValueError(
      'commands must be [B, C, A] and pose [B, A]: '
      f'{commands.shape} and {pose.shape}.'
    )
  unit = ActionSpace(np.ones(commands.shape[-1], np.float32), mode)
  steps = np.asarray(unit.encode(jnp.asarray(commands), jnp.asarray(pose)))
  # About zero, not about the mean, so that zero still means no motion.
  scale = np.sqrt(np.mean(np.square(steps, dtype=np.float64), axis=(0, 1)))
  floor = np.full_like(scale, _ANGLE_FLOOR)
  floor[_SIDE - 1 :: _SIDE] = _GRIPPER_FLOOR
  return ActionSpace(np.maximum(scale, floor).astype(np.float32), mode)


def limit_command(
  command: Array, measured: Array, reach: Array, low: Array, high: Array
) -> Array:
  """Returns the command [A] that is executed, which replay must store.

  The motions of an arm's six joints are scaled by one factor, so that the hand
  keeps its direction of motion. Clipping each joint alone would bend a straight
  push.

  Args:
    command: [A] requested joint targets, rad and m; six joints and a gripper
      for each side.
    measured: [A] measured pose.
    reach: [A] largest distance of a command from the measured pose. It bounds
      the pressing force, which is stiffness times this distance.
    low, high: [A] joint limits.
  """
  over = (jnp.abs(command - measured) / reach).reshape(-1, _SIDE)
  arm = jnp.max(over[:, :-1], axis=1, keepdims=True)
  over = jnp.where(jnp.arange(_SIDE) < _SIDE - 1, arm, over)
  over = over.reshape(command.shape)
  shorter = measured + (command - measured) / jnp.maximum(over, 1.0)
  # Within reach the command is unchanged: a division would round it.
  command = jnp.where(over > 1.0, shorter, command)
  return jnp.clip(command, low, high)
