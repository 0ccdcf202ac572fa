import numpy as np

from rlt_jax.robot.control import workspace
from rlt_jax.robot.operator import jacobian
from tests.robot.operator.conftest import make_arm_spec

_CHAIN = make_arm_spec().chains[0]


def test_the_tip_moves_as_the_kinematics_of_the_guard_say():
  angles, step = np.array([0.4, -0.7, 1.1]), 1e-6
  columns = [
    (
      workspace.tip_position(_CHAIN, angles + step * unit)
      - workspace.tip_position(_CHAIN, angles - step * unit)
    )
    / (2 * step)
    for unit in np.eye(3)
  ]
  found = jacobian.tip_jacobian(_CHAIN, angles)
  np.testing.assert_allclose(found[:3], np.transpose(columns), atol=1e-8)


def test_the_axes_turn_with_the_joints_before_them():
  found = jacobian.tip_jacobian(_CHAIN, np.array([np.pi / 2, 0.3, 0.0]))
  np.testing.assert_allclose(
    found[3:], [[0, 0, 0], [0, 1, 1], [1, 0, 0]], atol=1e-12
  )


def test_a_singular_arm_gets_a_bounded_answer():
  stretched = jacobian.tip_jacobian(_CHAIN, np.zeros(3))
  along = np.array([0.0, 0.002, 0.0, 0.0, 0.0, 0.0])  # further than it reaches
  assert np.abs(jacobian.solve(stretched, along, 0.02)).max() < 0.1
