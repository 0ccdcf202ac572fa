"""The robot of the tests: the simulated arms, from the tests' dataset."""

import json
import pathlib

from rlt_jax import tasks
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets import opening
from rlt_jax.lerobot import facts as facts_lib
from tests.lerobot.tiny_policies import DATASET

_PARTS = (
  ('waist', 'j1'),
  ('shoulder', 'j2'),
  ('elbow', 'j3'),
  ('forearm_roll', 'j4'),
  ('wrist_angle', 'j5'),
  ('wrist_rotate', 'j6'),
)
_CAMERAS = {
  'base': 'observation.images.cam_high',
  'wrist_left': 'observation.images.cam_left_wrist',
  'wrist_right': 'observation.images.cam_right_wrist',
}


def mapping_table(**changes) -> dict:
  """Returns a mapping file: joints in the task's order, not the dataset's."""
  joints = []
  for name in tasks.load('ethernet').spec.joint_names:
    side, _, part = name.partition('_')
    if part == 'gripper':
      joints.append({
        'joint': name,
        'state': f'{side}_gripper.pos',
        'recorded': 'm',
        'scale': 0.03,
      })  # fmt: skip
      continue
    (theirs,) = [old for old, new in _PARTS if new == part]
    joints.append({
      'joint': name, 'state': f'{side}_{theirs}.pos', 'recorded': 'rad',
    })  # fmt: skip
  table = {
    'joints': joints,
    'cameras': [{'camera': k, 'key': x} for k, x in _CAMERAS.items()],
    'actions': 'joint_position',
    'control_hz': 50.0,
    'resample': 'linear',
    'velocities': 'differences',
  }
  return table | changes


def write_mapping(folder: pathlib.Path, **changes) -> pathlib.Path:
  path = folder / 'mapping.json'
  path.write_text(json.dumps(mapping_table(**changes)))
  return path


def make_facts(folder: pathlib.Path, **changes) -> facts_lib.VlaFacts:
  mapping = mapping_lib.load(write_mapping(folder, **changes))
  return facts_lib.measure(opening.open_recording(DATASET), mapping)
