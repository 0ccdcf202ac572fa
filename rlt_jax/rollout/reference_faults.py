"""Faults of the frozen VLA's chunks, to measure how practice copes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rollout import REFERENCE_FAULTS
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import Array, PRNGKey

BIAS_MM = 0.4  # along x of the world, again at every query
# (State [B], chunks [B, N, H, A], key or keys [S]) -> chunks [B, N, H, A]. The
# keys are those of the query; another is derived from each.
Fault = Callable[[State, Array, PRNGKey], Array]


def make(name: str, task: Task, space: ActionSpace) -> Fault:
  """Builds the function that spoils the VLA's chunks.

  Args:
    name: 'none' keeps them. 'bias' moves the tip by `BIAS_MM` along x in all
      steps of each chunk. 'halved' halves each motion. 'noise' adds a normal
      draw of one action unit to each moving entry, the same in all steps.
    task: says which entries move; its tip is read by 'bias' only.
    space: of the chunks.

  Raises:
    ValueError: an unknown name, chunks that are not offsets from the measured
      pose, or a task without a tip and 'bias'.
  """
  if name not in REFERENCE_FAULTS:
    raise ValueError(
      f'reference_fault must be one of {REFERENCE_FAULTS}: {name!r}.'
    )
  if name == 'none':
    return lambda state, chunks, keys: chunks
  if space.mode != 'offset':
    raise ValueError(
      'reference_fault needs a VLA whose actions are offsets from the measured '
      f'pose: {space.mode!r}.'
    )
  moving = np.zeros(len(space.scale), np.float32)
  moving[list(task.spec.moving_action_dims)] = 1.0
  if name == 'bias':
    return _make_bias(task, space, moving)
  if name == 'halved':
    return lambda state, chunks, keys: 0.5 * chunks
  return lambda state, chunks, keys: chunks + moving * _draw(keys, chunks)


def _make_bias(task: Task, space: ActionSpace, moving: np.ndarray) -> Fault:
  if task.tip is None:
    raise ValueError(
      f"reference_fault 'bias' needs a task with a tip: {task.spec.name}."
    )
  way = np.float32([BIAS_MM * 1e-3, 0.0, 0.0])

  # Each world solves two systems, which may hang in a plain vmap of many.
  @task.compile
  @over_worlds
  def shift(state: State) -> Array:
    position, matrix = task.tip.pose(state)
    here, there = (
      task.tip.solve(state, position + x, matrix) for x in (0.0 * way, way)
    )
    return moving * (there - here) / space.scale

  return lambda state, chunks, keys: chunks + shift(state)[:, None, None]


def _draw(keys: PRNGKey, chunks: Array) -> Array:
  """Returns normal noise [B, N, 1, A], by group where there are S keys."""
  groups = jnp.atleast_2d(keys)
  rows, draws, _, entries = chunks.shape
  shape = rows // len(groups), draws, 1, entries
  return jnp.concatenate(
    [jax.random.normal(jax.random.fold_in(key, 2), shape) for key in groups]
  )
