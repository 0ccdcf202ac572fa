"""Rewards by name: 'sparse' is the task's own, 'shaped' adds a potential."""

from collections.abc import Callable

import jax.numpy as jnp

from rlt_jax.tasks.task import Outcome, State, Task
from rlt_jax.types import Array

KINDS = ('sparse', 'shaped')

SHAPING_DISCOUNT = 0.99
# A step of 2 mm toward the goal earns 0.2. With rewards of a hundredth,
# critics were slow to tell good actions from bad ones.
_SHAPED_SCALE = 10.0
# Where the potential reaches 0: beyond what uniform actions wander off.
_FARTHEST = 0.1  # m
# A radian counts as this many meters: 1 degree as 1.7 mm.
_METERS_PER_RADIAN = 0.1

Reward = Callable[[State, State], Array]


def make(
  task: Task, kind: str, *, discount: float = SHAPING_DISCOUNT
) -> Reward:
  """Returns `reward(before, after)` of one world and one step.

  'sparse': 1 at success, else 0. 'shaped': 10 times the sum of 1 at success
  and `discount * p(after) - p(before)` with the potential p of `potential`,
  which is 0 in an ended world except at the time limit. A learner with the same
  discount has the same best policy as under 'sparse' (Ng, Harada and Russell,
  ICML 1999).

  Args:
    task: the task.
    kind: 'sparse' or 'shaped'.
    discount: the learner's discount of one step, in (0, 1].

  Raises:
    ValueError: unknown kind, or the task has no true or no goal pose.
  """
  if kind == 'sparse':
    return lambda before, after: after.reward
  if kind != 'shaped':
    raise ValueError(f'reward must be one of {KINDS}: {kind!r}.')
  if task.true_pose is None or task.goal_pose is None:
    raise ValueError(
      "reward must be 'sparse' for a task without true_pose and goal_pose: "
      f'{task.spec.name}.'
    )
  if not 0 < discount <= 1:
    raise ValueError(f'shaping_discount must be in (0, 1]: {discount}.')

  def reward(before: State, after: State) -> Array:
    going = (after.outcome == Outcome.RUNNING) | (
      after.outcome == Outcome.TIME_OUT
    )
    value = jnp.where(going, potential(task, after), 0.0)
    shaping = discount * value - potential(task, before)
    return _SHAPED_SCALE * (after.reward + shaping)

  return reward


def potential(task: Task, state: State) -> Array:
  """Returns max(0, 1 - d / 100 mm) of one world, in [0, 1].

  d is the distance of the true pose from the goal pose: the length of the
  position's difference, plus 0.1 m a radian of the rotation's.
  """
  gap = task.true_pose(state) - jnp.asarray(task.goal_pose)
  distance = _length(gap[:3]) + _METERS_PER_RADIAN * _length(gap[3:6])
  return jnp.maximum(0.0, 1.0 - distance / _FARTHEST)


def _length(vector: Array) -> Array:
  return jnp.sqrt(jnp.sum(vector**2) + 1e-12)
