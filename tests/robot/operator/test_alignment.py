import numpy as np
import pytest

from rlt_jax.robot.operator import alignment
from tests.robot.operator.conftest import JOINTS, make_config


def test_the_tolerance_widens_once_the_operator_drives():
  config, arm = make_config(), np.zeros(4)
  pose = np.array([0.1, 0.0, 0.0, 0.0])
  for driving in (False, True):
    command, words = alignment.absolute_command(
      pose, arm, driving=driving, config=config
    )
    assert (command is not None) == driving
    assert ('yaw is off by +0.100 rad' in words) == (not driving)


def test_the_command_is_a_copy():
  pose = np.zeros(4)
  command, _ = alignment.absolute_command(
    pose, np.zeros(4), driving=False, config=make_config()
  )
  pose += 1.0
  assert not command.any()


def test_the_arms_joints_name_the_entries():
  config = make_config()
  assert config.joint_names == JOINTS
  assert config.joint_units == ('rad', 'rad', 'rad', 'm')


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'align_tolerance': (0.1,)}, 'align_tolerance must have .* 4: 1'),
    (
      {'align_tolerance': (0.05, 0.2, 0.05, 0.002)},
      'at most keep_tolerance for shoulder: 0.2 and 0.15',
    ),
    ({'align_tolerance': (0.0, 0.1, 0.1, 0.001)}, 'positive .* for yaw: 0.0'),
    ({'keep_tolerance': (float('inf'),) * 4}, 'for yaw: 0.05 and inf'),
    ({'release_s': -1.0}, 'release_s must be at least 0: -1.0'),
  ],
)
def test_a_bad_config_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    make_config(**changes)
