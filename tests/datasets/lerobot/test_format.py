import copy
import json
import pathlib

import pytest

from rlt_jax.datasets.lerobot import format as format_lib

_DATA = pathlib.Path(__file__).parents[2] / 'data' / 'lerobot'


@pytest.fixture
def table():
  file = _DATA / 'dataset_v3' / format_lib.INFO_PATH
  return json.loads(file.read_text('utf-8'))


@pytest.mark.parametrize('name', ['dataset_v3', 'dataset_v3_images'])
def test_a_description_is_written_as_it_was_read(name):
  info = format_lib.read_info(_DATA / name)
  text = (_DATA / name / format_lib.INFO_PATH).read_text('utf-8')
  assert info.to_table() == json.loads(text)


def test_cameras_have_sizes_by_the_names_of_their_axes():
  feature = format_lib.Feature(
    'video', (48, 64, 3), ('height', 'width', 'channels')
  )
  assert feature.size == (48, 64)
  first = format_lib.Feature(
    'image', (3, 48, 64), ('channels', 'height', 'width')
  )
  assert first.size == (48, 64)
  assert format_lib.Feature('image', (48, 64, 3)).size == (48, 64)


def test_entries_without_names_are_numbered(table):
  info = format_lib.parse_info(table)
  assert info.features['action'].entries()[:2] == (
    'left_waist.pos',
    'left_shoulder.pos',
  )
  table['features']['action']['names'] = {
    'motors': [f'm{i}' for i in range(14)]
  }
  table['features']['observation.state']['names'] = None
  info = format_lib.parse_info(table)
  assert info.features['action'].entries()[13] == 'm13'
  assert info.features['observation.state'].entries()[13] == '13'


def _changed(table, **changes):
  return copy.deepcopy(table) | changes


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'codebase_version': 'v2.0'}, "must be 'v3.0' or 'v2.1': 'v2.0'. Convert"),
    ({'codebase_version': 'v4.0'}, "'v4.0'. Only these two"),
    ({'fps': 0}, 'fps must be a positive number: 0'),
    ({'features': {}}, 'features must be an object'),
    ({'total_episodes': -1}, 'total_episodes must be a whole number: -1'),
    ({'data_path': '../{chunk_index}'}, 'data_path must be a path below'),
    ({'data_path': '{nothing}'}, 'data_path must be a path below'),
    ({'video_path': None}, 'video_path must be a path below'),
  ],
)
def test_descriptions_that_are_refused(table, changes, message):
  with pytest.raises(ValueError, match=message):
    format_lib.parse_info(_changed(table, **changes))


@pytest.mark.parametrize(
  'key, feature, message',
  [
    ('action', {'shape': [14]}, "'action' must have a dtype"),
    ('action', {'dtype': 'float32', 'shape': []}, 'must be positive integers'),
    ('c', {'dtype': 'video', 'shape': [64, 64]}, 'height, width and channels'),
  ],
)
def test_features_that_are_refused(table, key, feature, message):
  features = table['features'] | {key: feature}
  with pytest.raises(ValueError, match=message):
    format_lib.parse_info(_changed(table, features=features))


def test_columns_that_are_missing_are_named(table):
  del table['features']['timestamp']
  with pytest.raises(ValueError, match="'timestamp'] are missing"):
    format_lib.parse_info(table)


def test_a_folder_without_a_description_is_named(tmp_path):
  with pytest.raises(ValueError, match='must hold meta/info.json'):
    format_lib.read_info(tmp_path)
  (tmp_path / 'meta').mkdir()
  (tmp_path / 'meta' / 'info.json').write_text('{')
  with pytest.raises(ValueError, match='info.json must be JSON'):
    format_lib.read_info(tmp_path)
