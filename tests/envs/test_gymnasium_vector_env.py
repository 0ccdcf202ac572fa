from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
import numpy as np
import pytest

from rlt_jax.envs.gymnasium_env import TaskEnv
from rlt_jax.envs.gymnasium_vector_env import TaskVectorEnv
from rlt_jax.tasks.task import TaskConfig
from tests.envs import point_task

_LIMIT = 5


@pytest.fixture(scope='module')
def point():
  return point_task.make(TaskConfig(time_limit=_LIMIT))


def _away(env):
  """Actions too small to reach the goal before the time limit."""
  return np.full(env.action_space.shape, 0.2, np.float32)


def _home(env):
  """Actions that bring world 0 nearer to the goal; the others stay."""
  actions = np.zeros(env.action_space.shape, np.float32)
  pose = np.asarray(env.state.qpos[0, :2]) - [0.1, -0.1]
  actions[0] = np.clip(-pose * 100, -1, 1)
  return actions


@pytest.mark.parametrize('mode', list(AutoresetMode))
def test_worlds_play_what_single_environments_play(mode, point):
  settings = {'observations': ('proprio', 'true_pose'), 'reward': 'shaped'}
  env = TaskVectorEnv(point, num_envs=3, autoreset_mode=mode, **settings)
  assert env.metadata['autoreset_mode'] is mode
  singles = [TaskEnv(point, **settings) for _ in range(3)]
  seen, info = env.reset(seed=5)
  assert seen in env.observation_space
  starts = [one.reset(seed=5 + i) for i, one in enumerate(singles)]
  for i, (one, one_info) in enumerate(starts):
    np.testing.assert_array_equal(seen['true_pose'][i], one['true_pose'])
    assert one_info['outcome'] == info['outcome'][i] == 'running'
  rng = np.random.default_rng(0)
  for _ in range(_LIMIT):
    actions = rng.uniform(-0.2, 0.2, (3, 2)).astype(np.float32)
    seen, reward, terminated, truncated, info = env.step(actions)
    for i, one in enumerate(singles):
      single = one.step(actions[i])
      assert reward[i] == pytest.approx(single[1], abs=1e-6)
      assert (terminated[i], truncated[i]) == single[2:4]
      last = info['final_info'] if 'final_info' in info else info
      np.testing.assert_allclose(
        last['executed_command'][i], single[4]['executed_command'], atol=1e-7
      )
  assert truncated.all() and not terminated.any()


def test_next_step_resets_in_the_step_after_the_end(point):
  env = TaskVectorEnv(point, num_envs=2)
  env.reset(seed=0)
  single = TaskEnv(point)
  single.reset(seed=1)
  for _ in range(_LIMIT):
    last, _, _, truncated, info = env.step(_away(env))
  assert truncated.all() and list(info['outcome']) == ['time_out'] * 2
  seen, reward, terminated, truncated, info = env.step(_away(env))
  fresh, _ = single.reset()
  np.testing.assert_array_equal(seen['proprio'][1], fresh['proprio'])
  assert not terminated.any() and not truncated.any()
  assert (reward == 0).all() and list(info['outcome']) == ['running'] * 2
  assert (seen['proprio'] != last['proprio'])[:, :2].all()


def test_same_step_keeps_the_last_observation_in_info(point):
  env = TaskVectorEnv(point, num_envs=2, autoreset_mode='SameStep')
  env.reset(seed=0)
  done = np.zeros(2, bool)
  while not done.any():
    before = np.asarray(env.state.qpos)
    seen, reward, done, truncated, info = env.step(_home(env))
  np.testing.assert_array_equal(done, [True, False])
  assert reward[0] == 1.0 and not truncated.any()
  assert info['final_info']['outcome'][0] == 'success'
  np.testing.assert_array_equal(info['_final_obs'], done)
  assert info['final_obs'][1] is None
  last = info['final_obs'][0]['proprio']
  assert np.linalg.norm(last[:2] - [0.1, -0.1]) < 0.01
  assert (seen['proprio'][0] != last)[:2].all()
  np.testing.assert_array_equal(info['outcome'], ['running', 'running'])
  np.testing.assert_array_equal(seen['proprio'][1], before[1])
  np.testing.assert_array_equal(env.state.steps[0], 0)


def test_disabled_waits_for_a_reset_by_mask(point):
  env = TaskVectorEnv(point, num_envs=3, autoreset_mode=AutoresetMode.DISABLED)
  env.reset(seed=0)
  done = np.zeros(3, bool)
  while not done.any():
    seen, _, done, _, _ = env.step(_home(env))
  with pytest.raises(ValueError, match=r'episode is over: \[0\]'):
    env.step(_away(env))
  fresh, info = env.reset(options={'reset_mask': done})
  np.testing.assert_array_equal(info['_outcome'], done)
  np.testing.assert_array_equal(fresh['proprio'][1:], seen['proprio'][1:])
  assert (fresh['proprio'][0] != seen['proprio'][0])[:2].all()
  env.step(_away(env))


def test_seeds_go_to_the_worlds_of_the_mask_only(point):
  env = TaskVectorEnv(point, num_envs=3)
  first, _ = env.reset(seed=[7, 8, 9])
  mask = np.array([False, True, False])
  again, _ = env.reset(seed=7, options={'reset_mask': mask})
  np.testing.assert_array_equal(again['proprio'], first['proprio'])
  later, _ = env.reset(seed=[None, None, 9])
  np.testing.assert_array_equal(later['proprio'][2], first['proprio'][2])
  assert (later['proprio'] != first['proprio'])[:2, :2].all()


def test_worlds_are_shown_and_rendered(point):
  env = TaskVectorEnv(
    point, num_envs=2, observations=('pixels',), render_mode='rgb_array'
  )
  seen, _ = env.reset(seed=0)
  assert seen in env.observation_space
  np.testing.assert_array_equal(seen['images/top'], np.stack(env.render()))
  flat = TaskVectorEnv(point, num_envs=2, flat_observation=True)
  seen, _ = flat.reset(seed=0)
  assert isinstance(seen, np.ndarray) and seen in flat.observation_space
  assert flat.render() is None


def test_returned_arrays_do_not_change_afterward(point):
  env = TaskVectorEnv(point, num_envs=2)
  first, _ = env.reset(seed=0)
  copy = first['proprio'].copy()
  env.step(_away(env))
  np.testing.assert_array_equal(first['proprio'], copy)
  first['proprio'][:] = 0  # an array of one's own
  assert np.asarray(env.state.qpos).any()


def test_misuse_is_refused(point):
  with pytest.raises(ValueError, match='num_envs must be at least 1: 0'):
    TaskVectorEnv(point, num_envs=0)
  env = TaskVectorEnv(point, num_envs=2)
  with pytest.raises(ValueError, match='no episode has begun'):
    env.step(_away(env))
  some = {'reset_mask': np.array([True, False])}
  with pytest.raises(ValueError, match='all True at the first reset'):
    env.reset(options=some)
  env.reset(seed=0)
  for mask in (np.array([1, 0]), np.array([True]), np.zeros(2, bool)):
    with pytest.raises(ValueError, match=r'must be bool \[2\] with a True'):
      env.reset(options={'reset_mask': mask})
  with pytest.raises(ValueError, match='each of the 2 worlds: 3'):
    env.reset(seed=[1, 2, 3])
  with pytest.raises(ValueError, match=r'shape \(2, 2\): \(2,\)'):
    env.step(np.zeros(2))


@pytest.mark.parametrize('mode', ['NextStep', 'SameStep'])
def test_gymnasiums_wrappers_count_the_episodes(mode, point):
  env = RecordEpisodeStatistics(
    TaskVectorEnv(point, num_envs=2, autoreset_mode=mode)
  )
  env.reset(seed=0)
  lengths = []
  for _ in range(2 * _LIMIT + 1):
    info = env.step(np.zeros((2, 2), np.float32))[-1]
    if 'episode' in info:
      lengths += info['episode']['l'][info['_episode']].tolist()
  assert lengths == [_LIMIT] * 4
