import json
import pathlib
import shutil

import numpy as np
import pytest

from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import reader
from tests.datasets.lerobot import v21
from tests.vlas.conftest import config, demos  # noqa: F401

DATA = pathlib.Path(__file__).parents[1] / 'data' / 'lerobot'
VIDEO, IMAGES = DATA / 'dataset_v3', DATA / 'dataset_v3_images'
CAMERAS = ('cam_high', 'cam_left_wrist', 'cam_right_wrist')


@pytest.fixture(scope='session')
def lossless():
  return reader.LeRobotRecording(IMAGES)


@pytest.fixture(scope='session')
def old_folder(tmp_path_factory):
  """The same dataset, version 2.1, with lossless videos."""
  return v21.write(IMAGES, tmp_path_factory.mktemp('v21'), video=True)


@pytest.fixture
def copy(tmp_path):
  """Returns a function that copies a dataset to change it."""

  def copy_folder(folder):
    return pathlib.Path(shutil.copytree(folder, tmp_path / 'dataset'))

  return copy_folder


@pytest.fixture
def table():
  """A mapping of the dataset as JSON has it; grippers go from -1 to 1."""
  info = format_lib.read_info(IMAGES)
  joints = []
  for name in info.features['action'].names:
    row = {'joint': name.removesuffix('.pos'), 'state': name, 'recorded': 'rad'}
    if 'gripper' in name:
      row |= {
        'recorded': 'signed_fraction', 'unit': 'm',
        'at_low': 0.0, 'at_high': 0.04,
      }  # fmt: skip
    joints.append(row)
  return {
    'joints': joints,
    'cameras': [
      {'camera': x, 'key': f'observation.images.{x}'} for x in CAMERAS
    ],
    'actions': 'joint_position',
    'control_hz': 30.0,
    'resample': 'never',
    'velocities': 'differences',
  }


@pytest.fixture
def save(tmp_path):
  """Returns a function that writes a mapping and returns its path."""

  def write(table):
    file = tmp_path / 'mapping.json'
    file.write_text(json.dumps(table), 'utf-8')
    return file

  return write


def all_pictures(recording, episode, key):
  rows = np.arange(recording.episodes[episode].length)
  return np.stack(list(recording.read_images(episode, key, rows)))
