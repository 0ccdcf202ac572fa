import warnings

import numpy as np
import pytest

from rlt_jax.envs import sb3_vec_env
from rlt_jax.envs.gymnasium_env import TaskEnv
from rlt_jax.envs.gymnasium_vector_env import TaskVectorEnv
from rlt_jax.tasks.task import TaskConfig
from tests.envs import point_task

# PyTorch comes with it: too large to ask of everyone who runs the tests.
pytest.importorskip('stable_baselines3')

_LIMIT = 5


def _make(**settings):
  task = point_task.make(TaskConfig(time_limit=_LIMIT))
  return sb3_vec_env.make(
    TaskVectorEnv(task, num_envs=2, autoreset_mode='SameStep', **settings)
  )


@pytest.mark.parametrize(
  'settings',
  [
    {'observations': ('true_pose',), 'flat_observation': True},
    {'observations': ('pixels', 'proprio'), 'reward': 'shaped'},
  ],
)
def test_sb3s_checker_passes(settings):
  from stable_baselines3.common.env_checker import check_env

  with warnings.catch_warnings():
    warnings.filterwarnings('error', category=UserWarning)
    # Measurements have no bounds.
    warnings.filterwarnings('ignore', message='.*observation space.*')
    check_env(TaskEnv(point_task.make(), **settings))


def test_ended_worlds_show_their_next_episode_and_keep_the_last_in_info():
  worlds = _make(observations=('true_pose',), flat_observation=True)
  worlds.seed(3)
  first = worlds.reset()
  single = TaskEnv(worlds.env.task, observations=('true_pose',))
  start, _ = single.reset(seed=3)
  np.testing.assert_array_equal(first[0], start['true_pose'])
  for _ in range(_LIMIT):
    seen, reward, done, infos = worlds.step(np.full((2, 2), 0.1))
    last = single.step(np.full(2, 0.1))[0]
  assert done.all() and (reward == 0).all()
  assert [info['TimeLimit.truncated'] for info in infos] == [True, True]
  assert [info['outcome'] for info in infos] == ['time_out', 'time_out']
  np.testing.assert_array_equal(
    infos[0]['terminal_observation'], last['true_pose']
  )
  np.testing.assert_array_equal(seen[0], single.reset()[0]['true_pose'])


@pytest.mark.parametrize('observations', [('true_pose',), ('pixels',)])
def test_sac_learns_from_it_for_some_steps(observations):
  from stable_baselines3 import SAC

  worlds = _make(observations=observations, reward='shaped')
  model = SAC(
    'MultiInputPolicy', worlds, learning_starts=8, buffer_size=100,
    batch_size=8, seed=0,
  )  # fmt: skip
  model.learn(16)
  assert model.num_timesteps == 16 and model._n_updates > 0


def test_attributes_are_shared_and_methods_of_one_world_refused():
  worlds = _make(render_mode='rgb_array')
  assert worlds.get_attr('render_mode') == ['rgb_array'] * 2
  worlds.reset()
  assert worlds.get_images()[1].shape == (64, 64, 3)
  assert worlds.env_is_wrapped(object) == [False, False]
  with pytest.raises(NotImplementedError, match='env_method .*: reset'):
    worlds.env_method('reset')
  worlds.close()


def test_another_autoreset_mode_is_refused():
  env = TaskVectorEnv(point_task.make(), num_envs=2)
  with pytest.raises(ValueError, match='must be SAME_STEP: NEXT_STEP'):
    sb3_vec_env.make(env)
