import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.envs import actions as actions_lib
from rlt_jax.envs import batched_task
from rlt_jax.sim import kinematics
from tests.envs import point_task

_CORNERS = np.array(list(itertools.product([-1, 1], repeat=6)), np.float32)


@pytest.fixture(scope='module')
def ethernet():
  return batched_task.load_task('ethernet')


@pytest.fixture(scope='module')
def state(ethernet):
  return ethernet.compile(ethernet.reset)(jax.random.PRNGKey(3))


def _commands(task, actions, state, batch):
  """Joint targets [B, A] of actions [B, M]."""
  many = jax.vmap(actions.command, in_axes=(None, 0))
  return np.asarray(task.compile(many)(state, jnp.asarray(batch)))


@pytest.mark.parametrize('kind', actions_lib.KINDS)
def test_zero_stays_and_frozen_entries_never_move(kind, ethernet, state):
  actions = actions_lib.make(ethernet, kind)
  batch = np.concatenate([np.zeros((1, 6), np.float32), _CORNERS])
  commands = _commands(ethernet, actions, state, batch)
  measured = np.asarray(ethernet.joint_positions(state))
  np.testing.assert_allclose(commands[0], measured, atol=1e-6)
  frozen = np.array(ethernet.spec.frozen_action_dims)
  np.testing.assert_array_equal(
    commands[:, frozen], np.tile(state.command[frozen], (65, 1))
  )
  assert (np.abs(commands[1:, :6] - measured[:6]).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize('kind', actions_lib.KINDS)
def test_the_largest_actions_are_within_the_command_limit(
  kind, ethernet, state
):
  actions = actions_lib.make(ethernet, kind)
  ways = _commands(ethernet, actions, state, _CORNERS)
  ways = np.abs(ways - np.asarray(ethernet.joint_positions(state)))
  assert (ways <= np.asarray(ethernet.spec.max_reach) * (1 + 1e-5)).all()


def test_joint_units_are_half_of_the_reach(ethernet, state):
  actions = actions_lib.make(ethernet, 'joints')
  assert actions.names == ethernet.spec.joint_names[:6]
  np.testing.assert_allclose(actions.units, [0.01] * 3 + [0.02] * 2 + [0.05])
  command = _commands(ethernet, actions, state, np.eye(6, dtype=np.float32))
  way = command[:, :6] - np.asarray(ethernet.joint_positions(state))[:6]
  np.testing.assert_allclose(way, np.diag(actions.units), atol=1e-6)


@pytest.mark.parametrize('entry', range(6))
def test_a_tip_action_is_a_twist_in_the_tips_own_frame(entry, ethernet, state):
  actions = actions_lib.make(ethernet, 'tip')
  action = np.eye(6, dtype=np.float32)[entry : entry + 1]
  command = _commands(ethernet, actions, state, action)[0]
  pose = ethernet.compile(ethernet.tip.pose)
  before, matrix = map(np.asarray, pose(state))
  moved = state.replace(qpos=state.qpos.at[:6].set(command[:6]))
  after, turned = map(np.asarray, pose(moved))
  way = matrix.T @ (after - before) * 1e3
  turn = np.rad2deg(kinematics.small_rotvec(jnp.asarray(matrix.T @ turned)))
  expected = action[0] * [2, 2, 2, 0.5, 0.5, 0.5]  # mm and degrees
  np.testing.assert_allclose(np.append(way, turn), expected, atol=0.03)


def test_a_task_without_a_tip_has_joint_actions_only():
  point = point_task.make()
  assert actions_lib.make(point, 'joints').names == ('x', 'y')
  with pytest.raises(ValueError, match="must be 'joints' .* point"):
    actions_lib.make(point, 'tip')


def test_bad_actions_are_refused(ethernet):
  with pytest.raises(ValueError, match=r"\('joints', 'tip'\): 'tcp'"):
    actions_lib.make(ethernet, 'tcp')
  with pytest.raises(ValueError, match='tip_unit_mm must be positive: 0'):
    actions_lib.make(ethernet, 'tip', tip_unit_mm=0)
  with pytest.raises(ValueError, match='tip_unit_deg must be positive: nan'):
    actions_lib.make(ethernet, 'tip', tip_unit_deg=float('nan'))
