import unittest

import dm_env
from dm_env import test_utils
import jax
import numpy as np
import pytest

from rlt_jax.envs.dm_env_adapter import TaskEnvironment
from rlt_jax.sim import action_space as action_space_lib
from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.insertion import measures

_SHORT = EthernetConfig(time_limit=10)


def _make(**kwargs):
  return TaskEnvironment(**{'task_config': _SHORT, 'seed': 0, **kwargs})


def _home(environment):
  """The command that holds the pose, for actions that change nothing."""
  return np.array(measures.joint_positions(environment.state))


class ContractTest(test_utils.EnvironmentTestMixin, unittest.TestCase):
  """The contract of dm_env, over the end of an episode."""

  def make_object_under_test(self):
    return _make()

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(_SHORT.time_limit + 4):
      yield rng.uniform(-0.01, 0.01, bench.ACTION_DIM).astype(np.float32)


@pytest.fixture
def environment():
  return _make(render=False)


def test_specs_name_every_joint_and_camera():
  environment = _make(prompt='lift')
  action = environment.action_spec()
  assert action.name.split(',') == list(bench.JOINTS)
  assert action.shape == (14,) and action.dtype == np.float32
  assert (action.minimum < 0).all() and (action.maximum > 0).all()
  assert set(environment.observation_spec()) == {
    'images/base', 'images/wrist_left', 'images/wrist_right', 'proprio'
  }  # fmt: skip
  assert environment.prompt == 'lift'
  assert set(_make(render=False).observation_spec()) == {'proprio'}


def test_proprio_is_the_measured_pose(environment):
  seen = environment.reset().observation['proprio']
  assert seen.shape == (28,) and seen.dtype == np.float32
  np.testing.assert_array_equal(seen[:14], _home(environment))


def test_the_time_limit_keeps_its_discount(environment):
  environment.reset()
  steps = [environment.step(_home(environment)) for _ in range(10)]
  assert [step.last() for step in steps] == [False] * 9 + [True]
  assert steps[-1].discount == 1.0 and steps[-1].reward == 0.0
  assert environment.state.outcome == EthernetOutcome.TIME_OUT
  assert environment.step(_home(environment)).first()


def test_a_dropped_plug_ends_without_discount(environment):
  environment.reset()
  action = _home(environment)
  action[bench.JOINTS.index('right_gripper')] = 0.02
  step = environment.step(action)
  while not step.last():
    step = environment.step(action)
  assert environment.state.outcome == EthernetOutcome.DROP
  assert step.discount == 0.0 and step.reward == 0.0


def test_success_is_rewarded_once_and_ends(environment):
  environment.reset()
  _put_in(environment)
  step = environment.step(_home(environment))
  assert step.step_type is dm_env.StepType.LAST
  assert step.reward == 1.0 and step.discount == 0.0
  after = environment.step(_home(environment))
  assert after.first() and after.reward is None


def _put_in(environment):
  """Brings the socket to the plug: seated, whatever the grasp."""
  state, chain = environment.state, scene_lib.load().right
  tip, mat = jit(
    lambda q: kinematics.tip_pose(chain, q, state.grasp_pos, state.grasp_rot)
  )(state.qpos[:6])
  turn = kinematics.small_rotvec(mat @ np.asarray(chain.base_mat).T)
  environment._state = state.replace(
    socket_rot=turn, socket_pos=tip + 0.0115 * mat[:, 2], entered=np.bool_(True)
  )


def test_the_same_seed_gives_the_same_episodes(environment):
  first = [environment.reset().observation['proprio'] for _ in range(2)]
  other = _make(render=False)
  again = [other.reset().observation['proprio'] for _ in range(2)]
  np.testing.assert_array_equal(first, again)
  assert (first[0] != first[1]).any()
  different = _make(render=False, seed=1).reset().observation['proprio']
  assert (different != first[0]).any()


@pytest.mark.parametrize('actions', ['joints', 'tip'])
def test_normalized_actions_are_bounded_and_move_what_is_not_frozen(actions):
  environment = _make(render=False, actions=actions)
  spec = environment.action_spec()
  assert spec.shape == (6,) and len(spec.name.split(',')) == 6
  assert (spec.minimum == -1).all() and (spec.maximum == 1).all()
  environment.reset()
  pose = _home(environment)
  environment.step(np.zeros(6, np.float32))
  np.testing.assert_allclose(environment.executed, pose, atol=1e-5)
  pose = _home(environment)
  environment.step(np.full(6, 1.0, np.float32))
  way = environment.executed - pose
  assert np.abs(way[:6]).max() > 5e-3 and np.abs(way[6:]).max() < 1e-3
  other = _make(render=False, actions=actions)
  other.reset()
  other.step(np.zeros(6, np.float32))
  other.step(np.full(6, 5.0, np.float32))
  np.testing.assert_array_equal(other.executed, environment.executed)


def test_any_task_and_only_known_actions():
  environment = TaskEnvironment(
    'tests.envs.point_task:make', seed=0, actions='joints'
  )
  step = environment.reset()
  assert set(step.observation) == {'images/top', 'proprio'}
  assert environment.prompt == 'go to the goal'
  while not step.last():
    step = environment.step(np.ones(2, np.float32))
  assert environment.executed.shape == (3,)
  with pytest.raises(ValueError, match=r"actions must be one of .*: 'tcp'"):
    _make(actions='tcp')


def test_a_far_target_is_executed_as_far_as_the_task_lets_it(environment):
  environment.reset()
  home, spec = _home(environment), environment.action_spec()
  target = np.full(14, 1.0, np.float32)
  environment.step(target)
  expected = action_space_lib.limit_command(
    target, home, max_reach(_SHORT), spec.minimum, spec.maximum
  )
  np.testing.assert_allclose(environment.executed, expected, rtol=1e-6)
  assert (environment.executed < 0.2).all()


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused(value, environment):
  environment.reset()
  environment.step(_home(environment))
  action = _home(environment)
  action[3] = value
  message = f'action must be finite: right_j4 is {value} at step 1'
  with pytest.raises(ValueError, match=message):
    environment.step(action)
  assert environment.state.steps == 1


def test_an_action_of_another_shape_is_refused(environment):
  environment.reset()
  with pytest.raises(ValueError, match=r'shape \(14,\): \(7,\)'):
    environment.step(np.zeros(7, np.float32))


def test_state_needs_an_episode(environment):
  with pytest.raises(ValueError, match='no episode has begun'):
    environment.state  # noqa: B018


def test_environments_of_one_task_share_their_compiled_functions():
  one, other = _make(render=False), _make(render=False, seed=5)
  one.reset(), other.reset()
  assert jax.tree.structure(one.state) == jax.tree.structure(other.state)
  assert one._world is other._world
  tip = _make(render=False, actions='tip')
  assert tip._world.step is one._world.step
  assert tip._world.reset is one._world.reset
