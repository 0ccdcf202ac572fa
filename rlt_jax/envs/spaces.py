"""Gymnasium spaces of a batched task, and a seed for each episode."""

import gymnasium
from gymnasium import spaces
import numpy as np

from rlt_jax.envs.batched_task import BatchedTask, FLAT, IMAGE_PREFIX


def action_space(batched: BatchedTask) -> spaces.Box:
  """Returns [-1, 1] for each of the M entries."""
  return spaces.Box(-1.0, 1.0, (len(batched.actions.names),), np.float32)


def observation_space(batched: BatchedTask) -> gymnasium.Space:
  """Returns what one world shows: a dictionary, or a flat vector."""
  spec, settings = batched.task.spec, batched.settings
  # Contacts push a joint beyond its limits, so nothing bounds a measurement.
  numbers = {
    name: spaces.Box(-np.inf, np.inf, (size,), np.float32)
    for name, size in batched.numbers_dims.items()
  }
  if settings.flat_observation:
    return numbers[FLAT]
  shape = (spec.image_size, spec.image_size, 3)
  images = {
    IMAGE_PREFIX + name: spaces.Box(0, 255, shape, np.uint8)
    for name in (spec.cameras if 'pixels' in settings.observations else ())
  }
  return spaces.Dict({**images, **numbers})


def episode_seed(rng: np.random.Generator) -> int:
  """Draws the seed of the next episode."""
  return int(rng.integers(2**32, dtype=np.uint32))


def checked_action(action: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Returns an action as float32.

  Raises:
    ValueError: another shape than the space's, or an entry is not finite.
  """
  action = np.asarray(action, np.float32)
  if action.shape != shape:
    raise ValueError(f'action must have shape {shape}: {action.shape}.')
  if not np.isfinite(action).all():
    raise ValueError(f'action must be finite: {action}.')
  return action
