"""What the VLA and the actor get of the joints."""

import numpy as np
import pytest

from rlt_jax.robot import proprio
from rlt_jax.robot.proprio import Proprioception

_JOINTS = ('a', 'b')
_POSITION, _VELOCITY = np.array([1.0, 2.0]), np.array([3.0, 4.0])


def test_the_actor_gets_its_bundles_entries_and_the_vla_always_the_same():
  feel = Proprioception(_JOINTS, ('b.err', 'a.pos', 'a.vel'))
  felt = feel(_POSITION, _VELOCITY, np.array([1.5, 2.25]))
  np.testing.assert_array_equal(felt.vla, [1, 2, 3, 4])
  np.testing.assert_array_equal(felt.actor, [0.25, 1, 3])
  assert felt.vla.dtype == felt.actor.dtype == np.float32


def test_before_the_first_command_nothing_presses():
  feel = Proprioception(_JOINTS, proprio.names(_JOINTS, proprio.PARTS))
  felt = feel(_POSITION, _VELOCITY, None)
  np.testing.assert_array_equal(felt.actor, [1, 2, 3, 4, 0, 0])


def test_an_entry_that_no_arm_has_is_refused():
  with pytest.raises(ValueError, match=r"<joint>.<part>.*\['b.torque'\]"):
    Proprioception(_JOINTS, ('a.pos', 'b.torque'))
