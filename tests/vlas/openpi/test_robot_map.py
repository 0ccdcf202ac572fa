"""Robot and checkpoint agree on every joint, in order, sign and unit."""

import json

import numpy as np

from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi import robot_map
from rlt_jax.vlas.openpi.config import JointConfig
from tests.vlas.openpi import models

_CASES = json.loads((models.REFERENCE / 'transforms.json').read_text())


def test_delta_actions_become_openpis_absolute_ones():
  joints = [
    JointConfig(name=str(i), delta=delta)
    for i, delta in enumerate(_CASES['delta_mask'])
  ]
  space = robot_map.make(joints, [joint.name for joint in joints])
  case = _CASES['cases']['pi05']
  actions = np.array(case['unnormalised']['actions'])[None, :, :14]
  found = space.commands(actions, np.array(_CASES['state'])[None])
  expected = np.array(case['absolute_actions'])[:, :14]
  np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_order_sign_unit_and_resting_joints():
  joints = [
    JointConfig(name='b', scale=-1.0),
    JointConfig(name='c', unit='m', delta=False, scale=20.0, offset=-1.0),
  ]
  space = robot_map.make(joints, ('a', 'c', 'b'))
  pose = np.array([[0.3, 0.1, 0.5]], np.float32)
  np.testing.assert_allclose(space.state(pose), [[-0.5, 1.0]], atol=1e-6)
  actions = np.array([[[0.2, 0.0], [-0.1, 1.0]]], np.float32)
  found = space.commands(actions, pose)
  expected = [[[0.3, 0.05, 0.3], [0.3, 0.1, 0.6]]]
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(space.actions(found, pose), actions, atol=1e-6)


def test_alohas_gripper_is_an_angle_for_its_models():
  joint = JointConfig(name='g', unit='m', delta=False, gripper='aloha')
  space = robot_map.make([joint], ('g',))
  travel = robot_map.gripper_travel()
  ends = np.array([[travel.low], [travel.low + travel.width]], np.float32)
  state = np.asarray(space.state(ends))
  # Past a right angle the fingers come back, as openpi's arcsine has it.
  bent = (np.pi - travel.angle - 2 * 0.5476) / travel.angle
  np.testing.assert_allclose(state, [[0.0], [bent]], atol=1e-4)
  # The stops of ALOHA's own gripper, m and rad.
  stops = robot_map.crank_angle(np.array([0.01844, 0.058]))
  np.testing.assert_allclose(stops, [-0.6213, 1.4910], atol=0.09)
  middle = np.array([[0.03]], np.float32)
  angle = robot_map.crank_angle(middle)
  np.testing.assert_allclose(robot_map.crank_position(angle), middle, atol=1e-6)
  # Actions are radians above the closed angle, states parts of the travel.
  action = np.full((1, 1, 1), travel.angle, np.float32)
  found = space.commands(action, middle)
  np.testing.assert_allclose(found[0], ends[1:], atol=1e-5)
  bend = np.full((1, 1, 1), 0.5, np.float32)
  undone = space.actions(space.commands(bend, middle), middle)
  np.testing.assert_allclose(undone, bend, atol=1e-5)


def test_the_shipped_aloha_flips_what_openpi_flips():
  config = config_lib.load('pi05_aloha')
  scales = [joint.scale for joint in config.joints]
  assert [i for i, x in enumerate(scales) if x < 0] == [1, 2, 8, 9]
  assert [j.delta for j in config.joints] == _CASES['delta_mask']
  assert [j.gripper for j in config.joints].count('aloha') == 2
