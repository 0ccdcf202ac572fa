"""A configuration is complete and right, or refused by name."""

import dataclasses
import json
import math

import pytest

from rlt_jax import vlas
from rlt_jax.sim import two_arm_bench
from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi import model_config
from tests.vlas.openpi import models

_MINE = {
  'family': 'pi05',
  'asset_id': 'mine',
  'actions': 'joint_position',
  'cameras': {'left_wrist_0_rgb': 'wrist', 'base_0_rgb': 'top'},
  'image_size': 64,
  'control_hz': 30,
  'horizon': 16,
  'joints': [{'name': 'a'}, {'name': 'g', 'unit': 'm', 'delta': False}],
}


def _parse(**changes):
  return config_lib.parse(json.dumps(_MINE | changes), 'my.json')


def test_a_small_file_is_enough():
  config = _parse()
  # openpi's order of the slots, whatever the file's.
  assert tuple(config.cameras) == ('base_0_rgb', 'left_wrist_0_rgb')
  assert config.joint_order == ('a', 'g')
  assert config.state_in_prompt and config.prompt_length == 200
  assert config.model.prefix.width == 2048
  other = _parse(family='pi0', sizes={'tower': {'depth': 2}, 'vocabulary': 9})
  assert not other.state_in_prompt and other.prompt_length == 48
  assert other.model.tower.depth == 2 and other.model.tower.width == 1152
  assert other.model.vocabulary == 9
  assert not _parse(state_in_prompt=False).state_in_prompt


def test_the_tiny_one_has_three_million_parameters_and_the_benchs_joints():
  config = config_lib.load('pi05_two_arm_bench_tiny')
  count = sum(
    math.prod(spec.shape) for spec in model_config.arrays(config.model).values()
  )
  assert 2.5e6 < count < 3.5e6
  assert config.joint_order == two_arm_bench.JOINTS


@pytest.mark.parametrize(
  'name', [name for name in config_lib.names() if not name.endswith('tiny')]
)
def test_shipped_configurations_are_of_full_size(name):
  config = config_lib.load(name)
  assert config.model.dtype == 'bfloat16'
  assert name.startswith(config.model.family + '_')
  assert config.model.tower.depth == 27 and len(config.cameras) == 3
  if name.endswith('two_arm_bench'):
    assert config.joint_order == two_arm_bench.JOINTS
    units = tuple(joint.unit for joint in config.joints)
    assert units == two_arm_bench.JOINT_UNITS


_JOINT = {'name': 'a'}


@pytest.mark.parametrize(
  'changes, sentence',
  [
    ({'actions': 'joint_velocity'}, "must be 'joint_position', .*velocity'"),
    ({'actions': 'end_effector_delta'}, 'Fine-tune .* on joint positions'),
    ({'cameras': {'front': 'top'}}, r"map slots of \('base_0_rgb'"),
    ({'cameras': {}}, 'cameras must map slots'),
    (
      {'cameras': {'base_0_rgb': 'x', 'left_wrist_0_rgb': 'x'}},
      'distinct cameras',
    ),
    ({'joints': [_JOINT, _JOINT]}, 'joints must be distinct names'),
    ({'joints': []}, 'at least one'),
    ({'joints': 'a'}, 'joints must be a list'),
    ({'joints': [{}]}, r"a joint must have the fields \['name'\]"),
    ({'joints': [{'name': 'a', 'unit': 'deg'}]}, "'rad' or 'm': 'deg'"),
    ({'joints': [_JOINT | {'scale': 0}]}, 'scale .* must not be 0'),
    ({'joints': [_JOINT | {'gripper': 'aloha'}]}, 'absolute actions'),
    ({'joints': [_JOINT | {'gripper': 'x'}]}, 'gripper of joint'),
    ({'joints': [_JOINT | {'delta': False}]}, 'action_scale must be given'),
    ({'joints': [{'name': str(i)} for i in range(33)]}, 'not be more: 33'),
    (
      {'joint_order': ['a', 'b']},
      r"\['b'\] are in none of the two, \['g'\] not in joint_order",
    ),
    ({'resting_joints': ['a']}, 'distinct names'),
    ({'action_scale': [0.1]}, 'empty or 2 positive numbers'),
    ({'horizon': 0}, 'horizon must be positive'),
    ({'horizon': 1.5}, 'horizon must be of type int: 1.5'),
    ({'image_size': True}, 'image_size must be of type int: True'),
    ({'asset_id': '../x'}, 'folder below assets'),
    ({'asset_id': '/etc'}, "folder below assets: '/etc'"),
    ({'cameras': ['wrist_left']}, r"must map slots of .*: \['wrist_left'\]"),
    ({'token_layer': 'first'}, "one of .*'last_input'.*: 'first'"),
    ({'family': 'pi0_fast'}, "family must be one of .*: 'pi0_fast'"),
    ({'family': 'pi0', 'state_in_prompt': True}, 'must be false for pi0'),
    ({'camera': {}}, "no field 'camera'. Did you mean 'cameras'"),
    ({'sizes': {'towr': {}}}, "no field 'towr'. Did you mean 'tower'"),
    ({'sizes': {'tower': {'width': 100}}}, 'multiple of num_heads'),
    ({'sizes': {'prefix': {'depth': 2}}}, 'the same depth'),
    ({'dtype': 'float16'}, 'dtype must be one of'),
  ],
)
def test_a_wrong_field_is_refused_by_name(changes, sentence):
  with pytest.raises(ValueError, match=sentence) as error:
    _parse(**changes)
  assert 'my.json' in str(error.value)


@pytest.mark.parametrize('name', ['asset_id', 'cameras', 'family', 'horizon'])
def test_a_missing_field_is_named(name):
  text = json.dumps({k: v for k, v in _MINE.items() if k != name})
  with pytest.raises(ValueError, match=f"must have the fields .*'{name}'"):
    config_lib.parse(text, 'my.json')


def test_text_that_is_no_json_is_refused():
  with pytest.raises(ValueError, match='my.json must be JSON'):
    config_lib.parse('{', 'my.json')
  with pytest.raises(ValueError, match='must be a table'):
    config_lib.parse('[]', 'my.json')


@pytest.mark.parametrize(
  'name, sentence',
  [
    ('pi05_droid', 'are joint velocities'),
    ('pi0_libero', 'are movements of the end effector'),
    ('pi0_fast_droid', 'joint positions as actions'),
    ('pi05_alhoa', "Did you mean 'pi05_aloha'"),
    ('none.json', 'must be a file: none.json'),
  ],
)
def test_an_unknown_configuration_is_refused_before_the_checkpoint(
  name, sentence
):
  with pytest.raises(ValueError, match=sentence):
    vlas.load(f'openpi:{name}:/nowhere')


def test_a_file_opens_by_its_path(tmp_path):
  path = tmp_path / 'mine.json'
  path.write_text(json.dumps(_MINE))
  assert config_lib.load(str(path)) == _parse()


def test_the_tests_own_configuration_differs_in_sizes_only():
  config = models.bench_config('pi05')
  shipped = config_lib.load('pi05_two_arm_bench')
  same = dataclasses.replace(config, model=shipped.model, flow_steps=10)
  assert same == shipped
