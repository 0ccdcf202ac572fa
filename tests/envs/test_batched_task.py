import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.envs import batched_task
from rlt_jax.envs.batched_task import BatchedTask, EnvSettings
from rlt_jax.tasks.task import Outcome, TaskConfig
from tests.envs import point_task

_ALL = ('pixels', 'proprio', 'true_pose')
_SEEDS = np.arange(3, dtype=np.uint32)


@pytest.fixture(scope='module')
def batched():
  return BatchedTask(point_task.make(), EnvSettings(observations=_ALL))


def test_a_seed_is_an_episode_whatever_its_place(batched):
  worlds = batched.reset(_SEEDS)
  again = batched.reset(_SEEDS[::-1])
  np.testing.assert_array_equal(worlds.qpos, again.qpos[::-1])
  assert len(np.unique(worlds.qpos[:, 0])) == 3


def test_observe_shows_what_the_settings_name(batched):
  worlds = batched.reset(_SEEDS)
  seen = batched.observe(worlds)
  assert set(seen) == {'images/top', 'proprio', 'true_pose'}
  assert seen['images/top'].shape == (3, 64, 64, 3)
  np.testing.assert_array_equal(seen['proprio'], worlds.qpos)
  pose = jax.vmap(batched.task.true_pose)(worlds)
  np.testing.assert_allclose(seen['true_pose'], pose, atol=1e-7)
  flat = BatchedTask(batched.task, EnvSettings(
      observations=('true_pose', 'proprio'), flat_observation=True
  )).observe(worlds)  # fmt: skip
  np.testing.assert_array_equal(
    flat, np.concatenate([seen['proprio'], seen['true_pose']], axis=1)
  )


def test_step_moves_by_units_and_cuts_what_is_beyond_one(batched):
  worlds = batched.reset(_SEEDS)
  action = np.array([[1, 0], [0, -1], [3, -9]], np.float32)
  result = batched.step(worlds, action)
  way = np.asarray(result.state.qpos - worlds.qpos)
  expected = [[0.01, 0, 0], [0, -0.01, 0], [0.01, -0.01, 0]]
  np.testing.assert_allclose(way, expected, atol=1e-6)
  seen, fresh = batched.observe(result.state), result.numbers
  np.testing.assert_array_equal(seen['proprio'], fresh['proprio'])


def test_renew_resets_the_ended_worlds_and_no_other(batched):
  worlds = batched.reset(_SEEDS)
  for _ in range(2):
    worlds = batched.step(worlds, np.ones((3, 2), np.float32)).state
  ended = np.array([False, True, False])
  renewed = batched.renew(worlds, ended, np.full(3, 7, np.uint32))
  fresh = batched.reset(np.full(3, 7, np.uint32))
  np.testing.assert_array_equal(renewed.qpos[1], fresh.qpos[1])
  np.testing.assert_array_equal(renewed.steps, [2, 0, 2])
  np.testing.assert_array_equal(renewed.qpos[::2], worlds.qpos[::2])


def test_an_ended_world_stays_and_earns_nothing_under_both_rewards():
  for reward in ('sparse', 'shaped'):
    batched = BatchedTask(
      point_task.make(TaskConfig(time_limit=2)), EnvSettings(reward=reward)
    )
    worlds, action = batched.reset(_SEEDS), np.ones((3, 2), np.float32)
    for _ in range(2):
      worlds = batched.step(worlds, action).state
    assert (np.asarray(worlds.outcome) == Outcome.TIME_OUT).all()
    result = batched.step(worlds, action)
    np.testing.assert_array_equal(result.state.qpos, worlds.qpos)
    np.testing.assert_array_equal(result.reward, 0.0)


def test_what_is_compiled_is_shared():
  task = point_task.make()
  one = batched_task.make(task, settings=EnvSettings())
  assert one is batched_task.make(task)
  assert one is not batched_task.make(task, settings=EnvSettings(
      observations=['true_pose']))  # fmt: skip
  loaded = batched_task.load_task('tests.envs.point_task:make')
  assert loaded is batched_task.load_task('tests.envs.point_task:make')
  assert loaded.spec.name == 'point'


def test_what_a_task_has_not_is_refused():
  blind = dataclasses.replace(point_task.make(), render=None, true_pose=None)
  for name in ('pixels', 'true_pose'):
    with pytest.raises(ValueError, match=f"must not hold '{name}': point"):
      BatchedTask(blind, EnvSettings(observations=(name,)))
  with pytest.raises(ValueError, match='config must be None'):
    batched_task.make(blind, TaskConfig())


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'observations': ('depth',)}, r"some of .*: \('depth',\)"),
    ({'observations': ()}, r'some of .*: \(\)'),
    (
      {'observations': ('pixels',), 'flat_observation': True},
      'flat_observation must be False with pixels',
    ),
  ],
)
def test_bad_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    EnvSettings(**settings)
