"""The delta action space: between normalized chunks and joint commands.

Two readings of "delta" are in use, and both are here:

* `offset`: each step of a chunk is an offset from the measured pose at the
  chunk's start. A correction is worth the same at every step.
* `increment`: each step is a change of the command before it (the first, of
  the measured pose). A correction made by one step survives the next, which
  is what single-step methods need.

One normalized unit of an entry is the standard deviation of that entry over
the demonstrations' chunks of C steps; zero always means "stay here".
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array

MODES = ('offset', 'increment')

# An idle joint's demonstrated deviation is next to nothing; dividing by it
# would turn sensor-size motion into large actions.
_ANGLE_FLOOR = 1e-3  # rad, a third of a millimeter at the tip
_GRIPPER_FLOOR = 2e-4  # m

_SIDE = 7  # entries a side: six joints, then the gripper


class ActionSpace(NamedTuple):
  """scale: [A] rad (grippers m) a normalized unit. mode: one of MODES."""

  scale: np.ndarray
  mode: str = 'offset'

  def decode(self, chunk: Array, pose: Array) -> Array:
    """Returns commands [C, A] (rad, m) of a chunk [C, A] begun at pose [A]."""
    steps = chunk * self.scale
    if self.mode == 'increment':
      steps = jnp.cumsum(steps, axis=-2)
    return pose[..., None, :] + steps

  def encode(self, commands: Array, pose: Array) -> Array:
    """Returns the chunk [C, A] of commands [C, A] begun at pose [A]."""
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
  # About zero, not about the mean: zero must keep meaning "stay".
  scale = np.sqrt(np.mean(np.square(steps, dtype=np.float64), axis=(0, 1)))
  floor = np.full_like(scale, _ANGLE_FLOOR)
  floor[_SIDE - 1 :: _SIDE] = _GRIPPER_FLOOR
  return ActionSpace(np.maximum(scale, floor).astype(np.float32), mode)


def limit_command(
  command: Array, measured: Array, reach: Array, low: Array, high: Array
) -> Array:
  """Returns the command [A] that is executed: what replay must store.

  An arm's six joints are shortened together, so that the hand stays on the
  way it was sent: cutting each joint alone would bend a straight push.

  Args:
    command: [A] wanted joint targets, rad and m; sides of six joints and a
      gripper.
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
  # Within reach, the command itself: a division would round it.
  command = jnp.where(over > 1.0, shorter, command)
  return jnp.clip(command, low, high)
