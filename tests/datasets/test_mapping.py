import dataclasses
import math

import numpy as np
import pytest

from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.mapping import JointMap


def test_a_file_is_read_strictly(table, save):
  mapping = mapping_lib.load(save(table))
  assert len(mapping.joints) == 14
  assert mapping.cameras[0].camera == 'cam_high'
  assert mapping.joints[6].robot_unit == 'm'
  for changes, message in (
    ({'control': 50.0}, "has no field 'control'"),
    ({'cameras': [{'camera': 'a'}]}, r"must give every field: no \['key'\]"),
    ({'frame_stride': 2.5}, 'frame_stride must be int: 2.5'),
  ):
    with pytest.raises(ValueError, match=f'mapping.json: .*{message}'):
      mapping_lib.load(save(table | changes))


@pytest.mark.parametrize(
  'fields, value, expected',
  [
    ({'recorded': 'rad'}, 1.5, 1.5),
    ({'recorded': 'deg'}, 180.0, math.pi),
    ({'recorded': 'm'}, 0.02, 0.02),
    ({'recorded': 'mm'}, 20.0, 0.02),
    ({'recorded': 'normalized', 'unit': 'rad', 'at_low': -1.0, 'at_high': 3.0},
     50.0, 2.0),
    ({'recorded': 'percent', 'unit': 'm', 'at_low': 0.04, 'at_high': 0.0},
     25.0, 0.03),
    ({'recorded': 'fraction', 'unit': 'm', 'at_low': 0.0, 'at_high': 0.04},
     0.5, 0.02),
    ({'recorded': 'deg', 'scale': -1.0, 'offset': 0.1}, 90.0,
     0.1 - math.pi / 2),
  ],
)  # fmt: skip
def test_units_become_radians_and_meters(fields, value, expected):
  row = JointMap(joint='a', state='s', **fields)
  recorded = np.array([[0.0, value]], np.float32)
  found = mapping_lib.convert(recorded, ['other', 's'], [row])
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def test_commands_and_velocities_have_their_own_columns():
  row = JointMap(joint='a', state='s', action='c', recorded='deg', offset=1.0)
  two = np.array([[1.0, 180.0]], np.float32)
  command = mapping_lib.convert(two, ['s', 'c'], [row], action=True)
  np.testing.assert_allclose(command, [[math.pi + 1.0]], rtol=1e-6)
  rate = mapping_lib.convert(two, ['x', 's'], [row], rate=True)
  np.testing.assert_allclose(rate, [[math.pi]], rtol=1e-6)


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'recorded': 'radians'}, "recorded of joint 'a' must be one of"),
    ({'recorded': 'percent', 'unit': 'm'}, 'must be two numbers, the joint at'),
    ({'recorded': 'percent', 'unit': 'm', 'at_low': 1.0, 'at_high': 1.0},
     'must be two numbers'),
    ({'recorded': 'percent', 'at_low': 0.0, 'at_high': 1.0},
     "must be 'rad' or 'm', that of at_low"),
    ({'recorded': 'rad', 'at_low': 0.0}, 'at_low and at_high .* only'),
    ({'recorded': 'rad', 'unit': 'm'}, "must be absent or 'rad': 'm'"),
    ({'recorded': 'rad', 'scale': 0.0}, 'scale .* not 0'),
  ],
)  # fmt: skip
def test_joints_that_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    JointMap(joint='a', state='s', **fields)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'actions': 'end_effector'}, "must be 'joint_position'.*end effector"),
    ({'actions': 'joint_velocity'}, "must be 'joint_position'.*Velocities"),
    ({'resample': 'nearest'}, "resample must be one of .*'nearest'"),
    ({'control_hz': 0.0}, 'control_hz must be positive: 0.0'),
    ({'color_order': 'grb'}, 'color_order must be one of'),
    ({'cameras': []}, 'cameras must be distinct, at least one'),
    ({'cameras': [{'camera': 'a', 'key': 'k', 'crop': [0, 0, 0]}]},
     "crop of 'a' must be left and upper edge"),
  ],
)  # fmt: skip
def test_mappings_that_are_refused(table, save, changes, message):
  with pytest.raises(ValueError, match=message):
    mapping_lib.load(save(table | changes))


def test_joints_take_the_order_of_the_vla(table, save):
  mapping = mapping_lib.load(save(table))
  names = mapping.joint_names[::-1]
  assert mapping.ordered(names).joint_names == names
  with pytest.raises(ValueError) as error:
    mapping.ordered(['left_waists', *names[:-1]])
  assert "missing ['left_waists'], unknown ['left_waist']" in str(error.value)
  assert "Did you mean 'left_waists' for 'left_waist'" in str(error.value)


def test_two_joints_cannot_share_a_number(table, save):
  mapping = mapping_lib.load(save(table))
  twice = (mapping.joints[0], dataclasses.replace(mapping.joints[0], joint='b'))
  with pytest.raises(ValueError, match='state of joints must be distinct'):
    dataclasses.replace(mapping, joints=twice)
