import numpy as np
import pytest

from rlt_jax.robot.control import workspace
from tests.robot.fake_arm import CHAIN, make_arm_spec


def _matrix(axis, angle):
  x, y, z = axis
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_the_tip_is_where_rotation_matrices_put_it():
  rng = np.random.default_rng(0)
  joints = rng.uniform(-2, 2, (20, 3))
  for q, tip in zip(joints, workspace.tip_position(CHAIN, joints), strict=True):
    point, turn = np.array(CHAIN.base), np.eye(3)
    for origin, axis, angle in zip(CHAIN.origins, CHAIN.axes, q, strict=True):
      point, turn = point + turn @ origin, turn @ _matrix(axis, angle)
    np.testing.assert_allclose(tip, point + turn @ CHAIN.tip, atol=1e-12)
    np.testing.assert_allclose(workspace.tip_position(CHAIN, q), tip)


def test_outside_is_the_distance_to_the_box():
  # b turns the whole arm, 0.25 m from its axis, below the box's floor.
  q = np.array([0.0, 0.5, 0.0])
  expected = 0.02 - (0.1 - 0.25 * np.sin(0.5))
  assert workspace.outside(CHAIN, q) == pytest.approx(expected)
  assert workspace.outside(CHAIN, np.zeros(3)) == 0.0


def test_a_hands_joints_are_one_group_and_its_gripper_none():
  groups = workspace.joint_groups(make_arm_spec())
  assert [g.tolist() for g in groups] == [[0, 1, 2]]
  groups = workspace.joint_groups(make_arm_spec(chains=()))
  assert [g.tolist() for g in groups] == [[0, 1, 2]]
  spec = make_arm_spec(chains=(), joint_units=('rad', 'm', 'rad', 'rad'))
  assert [g.tolist() for g in workspace.joint_groups(spec)] == [[0], [2, 3]]


def test_a_gripper_in_rad_moves_alone():
  spec = make_arm_spec(joint_units=('rad',) * 4)
  groups = workspace.joint_groups(spec)
  assert [g.tolist() for g in groups] == [[0, 1, 2], [3]]


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('joints', ('a', 'b', 'z'), "name joints of the arm: 'z'"),
    ('joints', ('a', 'b', 'grip'), "joints in 'rad': 'grip'"),
    ('joints', ('a', 'b', 'b'), "share no joint: 'b'"),
    ('axes', ((0.0, 0.0, 1.0),) * 2, r'shape \(3, 3\)'),
    ('axes', ((0.0, 0.0, 2.0),) * 3, r'length 1: \(0.0, 0.0, 2.0\)'),
    ('tip', (0.1, float('nan'), 0.0), 'tip of chains'),
    ('high', (0.4, 0.2, 0.02), 'low of chains.* must be below high'),
  ],
)
def test_a_chain_that_breaks_its_rule_is_refused(field, value, message):
  chain = type(CHAIN)(**(vars(CHAIN) | {field: value}))
  with pytest.raises(ValueError, match=message):
    workspace.chain_joints(make_arm_spec(chains=(chain,)))
