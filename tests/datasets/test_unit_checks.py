import numpy as np
import pytest

from rlt_jax.datasets import unit_checks
from rlt_jax.datasets.mapping import JointMap
from rlt_jax.datasets.unit_checks import Motions

_T = np.linspace(0.0, 6.0, 200)


def _rows(recorded, count=2, **fields):
  if recorded in ('percent', 'normalized', 'fraction'):
    fields = {'unit': 'rad', 'at_low': 0.0, 'at_high': 1.0} | fields
  return [
    JointMap(joint=f'j{i}', state=f's{i}', recorded=recorded, **fields)
    for i in range(count)
  ]


def _motions(size, count=2, action=None):
  state = np.stack([size * np.sin(_T + i) for i in range(count)], axis=1)
  motions = Motions(count)
  action = state if action is None else action
  # In parts, as episodes come.
  motions.add(state[:50], action[:50])
  motions.add(state[50:], action[50:])
  return motions


@pytest.mark.parametrize(
  'recorded, size',
  [('rad', 2.0), ('deg', 100.0), ('normalized', 100.0), ('m', 0.1), ('mm', 40)],
)
def test_numbers_of_the_unit_pass(recorded, size):
  unit_checks.check_ranges(_rows(recorded), _motions(size))


@pytest.mark.parametrize(
  'recorded, size, message',
  [
    ('rad', 100.0, "State 's0' of joint 'j0', recorded in 'rad', must be "
     r'within -12.57 and 12.57: it goes from -100 to 100. Write "recorded" '
     r"as one of \['deg', 'normalized'\]"),
    ('percent', 50.0, "must be within -5 and 105: it goes from -50 to"),
    ('normalized', 150.0, r"must be within -110 and 110.*\['deg'\]"),
    ('m', 5.0, "must be within -2 and 2"),
    ('deg', 5000.0, 'No unit fits'),
    ('deg', 1.5, r"larger than 6.28: \['j0', 'j1'\] stay within.* radians"),
    ('mm', 0.03, "write 'm'"),
    ('normalized', 0.9, "radians or -1 to 1"),
  ],
)  # fmt: skip
def test_numbers_of_another_unit_are_refused(recorded, size, message):
  with pytest.raises(ValueError, match=message):
    unit_checks.check_ranges(_rows(recorded), _motions(size))


def test_a_gripper_of_0_to_1_is_no_percent():
  motions = Motions(1)
  open_ = (0.5 + 0.5 * np.sin(_T))[:, None]
  motions.add(open_, open_)
  with pytest.raises(ValueError, match="0 to 1: write 'fraction'"):
    unit_checks.check_ranges(_rows('percent', 1), motions)
  unit_checks.check_ranges(_rows('fraction', 1), motions)


def test_a_command_out_of_range_is_named_as_one():
  motions = _motions(1.0, action=np.full((200, 2), 90.0))
  with pytest.raises(ValueError, match="Action 's0' of joint 'j0'"):
    unit_checks.check_ranges(_rows('rad'), motions)


@pytest.mark.parametrize(
  'name, kind',
  [
    ('right.vel', "velocity .'vel'"),
    ('joint_velocity_1', 'velocity'),
    ('delta_x', 'end effector'),
    ('ee.z', 'end effector'),
  ],
)
def test_actions_are_refused_by_their_names(name, kind):
  row = JointMap(joint='a', state='a.pos', action=name, recorded='rad')
  with pytest.raises(ValueError, match=f'must be its target .*{kind}'):
    unit_checks.check_names([row])


def test_names_of_joints_pass():
  names = ('wrist_roll.pos', 'left_waist', 'shoulder_pitch', 'base_yaw', '3')
  unit_checks.check_names(
    [JointMap(joint=x, state=x, recorded='rad') for x in names]
  )


def test_actions_must_follow_the_joints():
  state = _motions(1.0)
  unit_checks.check_agreement(_rows('rad'), state)
  steps = np.stack([0.01 * np.cos(_T + i) for i in range(2)], axis=1)
  with pytest.raises(ValueError, match='which the joints follow: the correl'):
    unit_checks.check_agreement(_rows('rad'), _motions(1.0, action=steps))


def test_action_and_state_must_share_a_unit():
  degrees = np.degrees(np.stack([np.sin(_T + i) for i in range(2)], axis=1))
  with pytest.raises(ValueError, match='must be in one unit: their deviations'):
    unit_checks.check_agreement(_rows('rad'), _motions(1.0, action=degrees))


def test_joints_that_rest_say_nothing():
  unit_checks.check_agreement(
    _rows('rad'), _motions(1e-4, action=np.ones((200, 2)))
  )
