import math

import numpy as np
import pytest

from rlt_jax.robot import arm
from rlt_jax.robot.arms import base
from rlt_jax.robot.control import kinematics, workspace
from tests.robot.arms.conftest import SPECS

_NAMES = sorted(path.stem for path in SPECS.glob('*.json'))


def test_the_files_are_those_of_the_arms():
  assert _NAMES == ['piper', 'sim', 'so101', 'trossen_widowx_ai']


def test_the_file_of_one_arm_lists_its_joints_in_order():
  spec = arm.load_spec(SPECS / 'so101.json')
  assert spec.joint_names == (
    'shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll',
    'gripper',
  )  # fmt: skip
  assert spec.joint_units == ('rad',) * 6


@pytest.mark.parametrize('name', [x for x in _NAMES if x != 'so101'])
def test_a_file_loads_and_lists_the_joints_in_order(name):
  spec = arm.load_spec(SPECS / f'{name}.json')
  assert spec.name == name
  base.check_joints(spec)
  assert spec.joint_units == (*['rad'] * 6, 'm') * 2
  assert [chain.joints[0] for chain in spec.chains] == ['right_j1', 'left_j1']


@pytest.mark.parametrize('name', _NAMES)
def test_the_stow_pose_is_inside_every_box(name):
  spec = arm.load_spec(SPECS / f'{name}.json')
  for chain in spec.chains:
    index = [spec.joint_names.index(joint) for joint in chain.joints]
    pose = np.array(spec.stow)[index]
    assert workspace.outside(chain, pose) == 0.0


def test_the_trossen_chain_ends_where_the_vendors_flange_does():
  spec = arm.load_spec(SPECS / 'trossen_widowx_ai.json')
  tip = kinematics.tip_position(spec.chains[0], np.zeros(6))
  # The vendor's joint origins, added up, and its tool 156 mm ahead.
  np.testing.assert_allclose(tip, [0.253762, -5e-05, 0.1635], atol=1e-9)
  # The first joint turns it about the base's axis.
  turned = kinematics.tip_position(
    spec.chains[0], np.array([math.pi / 2, 0, 0, 0, 0, 0])
  )
  np.testing.assert_allclose(turned, [5e-05, 0.253762, 0.1635], atol=1e-9)


def test_the_piper_chain_is_the_vendors():
  fk = pytest.importorskip('piper_sdk').C_PiperForwardKinematics(0x01)
  spec = arm.load_spec(SPECS / 'piper.json')
  rng = np.random.default_rng(0)
  for joints in rng.uniform(spec.joint_low[:6], spec.joint_high[:6], (20, 6)):
    expected = np.array(fk.CalFK(joints.tolist())[-1][:3]) * 1e-3
    tip = kinematics.tip_position(spec.chains[0], joints)
    np.testing.assert_allclose(tip, expected, atol=1e-7)
