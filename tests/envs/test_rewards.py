import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.envs import rewards
from rlt_jax.tasks.task import Outcome, TaskConfig
from tests.envs import point_task

_DISCOUNT = 0.9


def _episode(task, direction):
  """States of an episode that always steps the same way."""
  states = [task.reset(jax.random.PRNGKey(1))]
  while int(states[-1].outcome) == Outcome.RUNNING:
    state = states[-1]
    goal = jnp.append(-task.true_pose(state)[:2], 0.0)
    states.append(task.step(state, state.qpos + direction * goal))
  return states


@pytest.mark.parametrize(
  'direction, outcome', [(0.2, 1), (-5.0, point_task.FAILED)]
)
def test_shaping_changes_a_return_by_the_first_potential(direction, outcome):
  task = point_task.make(TaskConfig(time_limit=60))
  states = _episode(task, direction)
  assert int(states[-1].outcome) == outcome and len(states) > 5
  shaped = rewards.make(task, 'shaped', discount=_DISCOUNT)
  sparse = rewards.make(task, 'sparse')
  pairs = list(zip(states[:-1], states[1:], strict=True))
  weights = _DISCOUNT ** np.arange(len(pairs))
  total = np.dot(weights, [shaped(*pair) for pair in pairs])
  plain = np.dot(weights, [sparse(*pair) for pair in pairs])
  first = rewards.potential(task, states[0])
  np.testing.assert_allclose(total, 10 * (plain - first), atol=1e-4)
  assert (plain > 0) == (outcome == 1)


def test_the_potential_rises_toward_the_goal_and_lasts_at_the_time_limit():
  task = point_task.make(TaskConfig(time_limit=3))
  states = _episode(task, 0.1)
  assert int(states[-1].outcome) == Outcome.TIME_OUT
  reward = rewards.make(task, 'shaped', discount=1.0)
  assert float(reward(states[-2], states[-1])) > 0
  values = [float(rewards.potential(task, state)) for state in states]
  assert values == sorted(values) and 0 < values[0] < values[-1] < 1


def test_the_potential_is_one_at_the_goal_and_counts_the_rotation():
  task = point_task.make()
  state = task.reset(jax.random.PRNGKey(0))

  def value(*pose):
    there = dataclasses.replace(task, true_pose=lambda _: jnp.array(pose))
    return float(rewards.potential(there, state))

  assert value(0, 0, 0, 0, 0, 0) == pytest.approx(1, abs=1e-3)
  assert value(0, 0.02, 0, 0, 0, 0) == pytest.approx(0.8, abs=1e-3)
  assert value(0, 0, 0, 0, 0.2, 0) == pytest.approx(0.8, abs=1e-3)
  assert value(0, 0, 0.01, 0.1, 0, 0) == pytest.approx(0.8, abs=1e-3)
  assert value(1, 0, 0, 0, 0, 0) == 0


def test_bad_rewards_are_refused():
  task = point_task.make()
  with pytest.raises(ValueError, match=r"\('sparse', 'shaped'\): 'dense'"):
    rewards.make(task, 'dense')
  with pytest.raises(ValueError, match=r'discount must be in \(0, 1\]: 1.5'):
    rewards.make(task, 'shaped', discount=1.5)
  without = dataclasses.replace(task, goal_pose=None)
  with pytest.raises(ValueError, match="must be 'sparse' .* point"):
    rewards.make(without, 'shaped')
