import warnings

from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

from rlt_jax.envs.gymnasium_env import TaskEnv
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.task import TaskConfig
from tests.envs import point_task

_ALL = ('pixels', 'proprio', 'true_pose')
_NUMBERS = ('proprio', 'true_pose')
# The settings of the page's first example, which compiles the same worlds.
_POSE = {'observations': _NUMBERS}


@pytest.fixture(scope='module')
def point():
  return point_task.make()


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {'observations': _ALL, 'reward': 'shaped', 'render_mode': 'rgb_array'},
    {'observations': _NUMBERS, 'flat_observation': True},
    {'observations': ('pixels',)},
  ],
)
def test_gymnasiums_checker_passes(settings, point):
  with warnings.catch_warnings():
    # Unbounded measurements, and no registered name.
    warnings.simplefilter('ignore')
    check_env(TaskEnv(point, **settings))


def test_gymnasiums_checker_passes_on_the_ethernet_task():
  env = TaskEnv(
    task_config=EthernetConfig(time_limit=8),
    actions='tip',
    observations=_ALL,
    reward='shaped',
    render_mode='rgb_array',
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    check_env(env)
  assert env.action_space.shape == (6,)
  assert env.observation_space['true_pose'].shape == (6,)
  assert env.render().shape == (64, 64, 3)


@pytest.mark.parametrize('actions', ['joints', 'tip'])
def test_uniform_actions_neither_drop_the_plug_nor_are_cut_off(actions):
  env = TaskEnv(actions=actions, **_POSE)
  env.reset(seed=0)
  env.action_space.seed(0)
  command = env.task.compile(env._batched.actions.command)
  for _ in range(40):
    before, action = env.state, env.action_space.sample()
    *_, info = env.step(action)
    assert info['outcome'] == 'running'
    np.testing.assert_allclose(
      info['executed_command'], command(before, action), atol=1e-5
    )


def test_a_controller_at_the_tip_that_reads_the_true_pose_inserts_the_plug():
  env = TaskEnv(actions='tip', **_POSE)
  for seed in range(3):
    seen, _ = env.reset(seed=seed)
    # The tip's axes in the socket's frame, when the two are aligned.
    axes = np.round(np.asarray(env.task.tip.pose(env.state)[1]))
    ended = False
    while not ended:
      pose = seen['true_pose']
      # Above the mouth until it is centered, then to the bottom.
      centered = np.linalg.norm(pose[:2]) < 4e-4 or pose[2] < 0
      way = np.array([0, 0, -0.012 if centered else 0.001, 0, 0, 0]) - pose
      action = np.append(way[:3] @ axes / 2e-3, way[3:] @ axes / 0.0087)
      seen, _, ended, late, info = env.step(np.clip(action, -1, 1))
      assert not late
    assert info['is_success'] and int(env.state.steps) < 60


def test_success_terminates_and_is_rewarded(point):
  env = TaskEnv(point)
  env.reset(seed=0)
  done = False
  while not done:
    pose = np.asarray(point.true_pose(env.state))[:2]
    _, reward, done, truncated, info = env.step(np.clip(-pose * 100, -1, 1))
    assert not truncated and info['is_success'] == done
  assert reward == 1.0 and info['outcome'] == 'success'
  assert info['executed_command'].shape == (3,)
  with pytest.raises(ValueError, match='the episode is over'):
    env.step(np.zeros(2))


def test_failure_terminates_and_the_time_limit_truncates():
  for limit, outcome in ((99, 'too_far'), (4, 'time_out')):
    env = TaskEnv(point_task.make(TaskConfig(time_limit=limit)))
    env.reset(seed=0)
    ended = False
    while not ended:
      _, reward, terminated, truncated, info = env.step(np.ones(2))
      ended = terminated or truncated
    assert (info['outcome'], info['is_success']) == (outcome, False)
    assert reward == 0.0 and truncated == (outcome == 'time_out')
    assert terminated != truncated


def test_a_seed_gives_the_same_episodes_and_none_goes_on(point):
  env = TaskEnv(point)

  def starts(seed):
    return [env.reset(seed=s)[0]['proprio'] for s in (seed, None, None)]

  first, again, other = starts(3), starts(3), starts(4)
  np.testing.assert_array_equal(first, again)
  assert len(np.unique(np.stack([*first, *other])[:, 0])) == 6


def test_a_task_is_opened_by_its_path():
  env = TaskEnv(
    'tests.envs.point_task:make', task_config=TaskConfig(time_limit=5)
  )
  assert env.task.spec.time_limit == 5 and env.action_space.shape == (2,)


def test_misuse_is_refused(point):
  env = TaskEnv(point)
  with pytest.raises(ValueError, match='no episode has begun'):
    env.step(np.zeros(2))
  env.reset(seed=0)
  with pytest.raises(ValueError, match=r'shape \(2,\): \(3,\)'):
    env.step(np.zeros(3))
  with pytest.raises(ValueError, match='must be finite: .*nan'):
    env.step(np.array([0.0, np.nan]))
  with pytest.raises(ValueError, match="None or 'rgb_array': 'human'"):
    TaskEnv(point, render_mode='human')
  with pytest.raises(TypeError, match='rewards'):
    TaskEnv(point, rewards='shaped')
  assert env.render() is None
