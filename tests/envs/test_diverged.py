"""Every environment stays finite where a world diverges."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.envs import diverged
from rlt_jax.envs.batched_task import BatchedTask, EnvSettings
from rlt_jax.envs.dm_env_adapter import TaskEnvironment
from rlt_jax.envs.gymnasium_env import TaskEnv
from rlt_jax.envs.gymnasium_vector_env import TaskVectorEnv
from rlt_jax.tasks.task import Outcome
from tests.envs import point_task

_LOST_AT = 2  # steps
_SEEN = ('pixels', 'proprio', 'true_pose')


def _task(outcome=Outcome.RUNNING, wrong=jnp.nan):
  """Every world diverges in its second step; a task may say that it failed."""
  point = point_task.make()

  def step(state, command):
    after = point.step(state, command)
    lost = after.steps == _LOST_AT
    return after.replace(
      qpos=jnp.where(lost, wrong, after.qpos),
      command=jnp.where(lost, wrong, after.command),
      reward=jnp.where(lost, wrong, after.reward),
      outcome=jnp.where(lost, jnp.int32(outcome), after.outcome),
    )

  return dataclasses.replace(point, step=step)


def _check_finite(*trees):
  for leaf in jax.tree.leaves(trees):
    if np.asarray(leaf).dtype != object:
      assert np.isfinite(leaf).all()


@pytest.mark.parametrize('reward', ['sparse', 'shaped'])
@pytest.mark.parametrize('wrong', [jnp.nan, -jnp.inf])
@pytest.mark.parametrize(
  'said, ends',
  [
    (Outcome.RUNNING, Outcome.TIME_OUT),
    (Outcome.SUCCESS, Outcome.TIME_OUT),
    (point_task.FAILED, point_task.FAILED),
  ],
)
def test_a_diverged_world_stays_and_has_failed(reward, wrong, said, ends):
  batched = BatchedTask(
    _task(said, wrong), EnvSettings(observations=_SEEN, reward=reward)
  )
  action = np.ones((3, 2), np.float32)
  before = batched.step(batched.reset(np.arange(3)), action)
  result = batched.step(before.state, action)
  _check_finite(result, batched.observe(result.state))
  np.testing.assert_array_equal(result.state.qpos, before.state.qpos)
  np.testing.assert_array_equal(result.numbers['proprio'], before.state.qpos)
  assert (np.asarray(result.state.outcome) == ends).all()
  assert (np.asarray(result.state.steps) == _LOST_AT).all()
  assert not np.asarray(result.state.reward).any()


def test_gymnasium_shows_its_last_finite_state():
  env = TaskEnv(_task(point_task.FAILED), observations=_SEEN)
  env.reset(seed=0)
  action = np.ones(2, np.float32)
  before = env.step(action)[0]
  observation, reward, terminated, truncated, info = env.step(action)
  _check_finite(observation, reward, info['executed_command'])
  np.testing.assert_array_equal(observation['proprio'], before['proprio'])
  assert terminated and not truncated
  assert (info['outcome'], info['is_success']) == ('too_far', False)


@pytest.mark.parametrize('mode', ['NextStep', 'SameStep'])
def test_many_worlds_show_and_renew_it(mode):
  env = TaskVectorEnv(_task(), num_envs=3, autoreset_mode=mode)
  env.reset(seed=0)
  actions = np.ones((3, 2), np.float32)
  for step in range(1, 7):
    observation, reward, terminated, truncated, info = env.step(actions)
    final = [info[k] for k in ('final_obs', 'final_info') if k in info]
    _check_finite(observation, reward, info['executed_command'], final)
    if step == _LOST_AT:
      assert truncated.all() and not terminated.any()
      seen = info['final_info'] if final else info
      assert list(seen['outcome']) == ['time_out'] * 3


def test_dm_env_ends_with_finite_numbers():
  environment = TaskEnvironment(_task(point_task.FAILED), seed=0)
  environment.reset()
  target = np.array(environment.state.qpos)
  environment.step(target)
  last = environment.step(target)
  assert last.last() and last.discount == 0.0
  _check_finite(last.observation, last.reward, environment.executed)


class _Tuple(NamedTuple):
  """A state that is a named tuple; one entry is infinite from the start."""

  command: jax.Array
  steps: jax.Array
  outcome: jax.Array
  reward: jax.Array
  limit: jax.Array


def test_infinity_from_the_start_is_no_divergence():
  start = _Tuple(
    jnp.zeros(1), jnp.int32(0), jnp.int32(Outcome.RUNNING), jnp.float32(0.0),
    jnp.float32(jnp.inf),
  )  # fmt: skip

  def step(state, command):
    return state._replace(
      command=command, steps=state.steps + 1, limit=state.limit - command[0]
    )

  task = dataclasses.replace(point_task.make(), step=step)
  for command, steps in ((1.0, Outcome.RUNNING), (jnp.inf, Outcome.TIME_OUT)):
    after = diverged.step(task, start, jnp.full(1, command))
    assert int(after.outcome) == steps and after.limit == jnp.inf
