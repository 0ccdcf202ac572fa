import numpy as np
import pytest

from rlt_jax.robot.control import kinematics
from tests.robot.fake_arm import CHAIN, make_arm_spec
from tests.robot.operator import conftest as operator_conftest

_ARM_CHAIN = operator_conftest.make_arm_spec().chains[0]


def _matrix(axis, angle):
  x, y, z = axis
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_the_tip_is_where_rotation_matrices_put_it():
  rng = np.random.default_rng(0)
  joints = rng.uniform(-2, 2, (20, 3))
  for q, tip in zip(
    joints, kinematics.tip_position(CHAIN, joints), strict=True
  ):
    point, turn = np.array(CHAIN.base), np.eye(3)
    for origin, axis, angle in zip(CHAIN.origins, CHAIN.axes, q, strict=True):
      point, turn = point + turn @ origin, turn @ _matrix(axis, angle)
    np.testing.assert_allclose(tip, point + turn @ CHAIN.tip, atol=1e-12)
    np.testing.assert_allclose(kinematics.tip_position(CHAIN, q), tip)


def test_the_jacobian_is_the_derivative_of_the_tip():
  angles, step = np.array([0.4, -0.7, 1.1]), 1e-6
  columns = [
    (
      kinematics.tip_position(_ARM_CHAIN, angles + step * unit)
      - kinematics.tip_position(_ARM_CHAIN, angles - step * unit)
    )
    / (2 * step)
    for unit in np.eye(3)
  ]
  found = kinematics.tip_jacobian(_ARM_CHAIN, angles)
  np.testing.assert_allclose(found[:3], np.transpose(columns), atol=1e-8)


def test_the_axes_turn_with_the_joints_before_them():
  found = kinematics.tip_jacobian(_ARM_CHAIN, np.array([np.pi / 2, 0.3, 0.0]))
  np.testing.assert_allclose(
    found[3:], [[0, 0, 0], [0, 1, 1], [1, 0, 0]], atol=1e-12
  )


def test_a_singular_arm_gets_a_bounded_answer():
  stretched = kinematics.tip_jacobian(_ARM_CHAIN, np.zeros(3))
  along = np.array([0.0, 0.002, 0.0, 0.0, 0.0, 0.0])  # further than it reaches
  assert np.abs(kinematics.solve_damped(stretched, along, 0.02)).max() < 0.1


def test_the_joints_of_a_chain_are_one_group_and_its_gripper_none():
  groups = kinematics.joint_groups(make_arm_spec())
  assert [g.tolist() for g in groups] == [[0, 1, 2]]
  groups = kinematics.joint_groups(make_arm_spec(chains=()))
  assert [g.tolist() for g in groups] == [[0, 1, 2]]
  spec = make_arm_spec(chains=(), joint_units=('rad', 'm', 'rad', 'rad'))
  assert [g.tolist() for g in kinematics.joint_groups(spec)] == [[0], [2, 3]]


def test_a_gripper_in_rad_moves_alone():
  spec = make_arm_spec(joint_units=('rad',) * 4)
  groups = kinematics.joint_groups(spec)
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
    kinematics.chain_joints(make_arm_spec(chains=(chain,)))
