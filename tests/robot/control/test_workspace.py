import numpy as np
import pytest

from rlt_jax.robot.control import workspace
from tests.robot.fake_arm import CHAIN


def test_outside_is_the_distance_to_the_box():
  # b turns the whole arm, 0.25 m from its axis, below the box's floor.
  q = np.array([0.0, 0.5, 0.0])
  expected = 0.02 - (0.1 - 0.25 * np.sin(0.5))
  assert workspace.outside(CHAIN, q) == pytest.approx(expected)
  assert workspace.outside(CHAIN, np.zeros(3)) == 0.0
