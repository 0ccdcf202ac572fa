"""Datasets of version 3.0, written again as version 2.1."""

import json
import os

import numpy as np
import pyarrow.parquet as parquet
import pytest

from rlt_jax.datasets.lerobot import older
from tests.datasets import conftest
from tests.datasets.lerobot import test_writer


@pytest.mark.parametrize('video', ['', 'h264'])
def test_the_older_version_has_the_same_frames(tmp_path, video):
  test_writer.write(tmp_path / 'a', (3, 2, 4), video=video)
  assert older.write_v21(tmp_path / 'a', tmp_path / 'b') == 3
  found = test_writer.check(tmp_path / 'b', (3, 2, 4))
  assert found.kind == 'LeRobot v2.1'
  assert len(list((tmp_path / 'b').rglob('*.mp4'))) == 3 * bool(video)
  info = json.loads((tmp_path / 'b/meta/info.json').read_text())
  assert info['total_videos'] == 3 * bool(video) and info['total_chunks'] == 1
  # That LeRobot takes the types of the columns from the files.
  (data, *_) = sorted((tmp_path / 'b/data').rglob('*.parquet'))
  about = json.loads(parquet.read_schema(data).metadata[b'huggingface'])
  types = {k: x['_type'] for k, x in about['info']['features'].items()}
  assert types['action'] == 'Sequence' and types['intervention'] == 'Value'
  assert types.get(test_writer.CAMERA) == (None if video else 'Image')
  lines = (tmp_path / 'b/meta/episodes_stats.jsonl').read_text().splitlines()
  stats = json.loads(lines[1])['stats']
  assert stats['action']['max'] == pytest.approx([0.1, 0.015])
  assert np.shape(stats[test_writer.CAMERA]['mean']) == (3, 1, 1)
  assert stats[test_writer.CAMERA]['count'] == [2]


def test_what_cannot_be_written_is_refused(tmp_path, old_folder):
  with pytest.raises(ValueError, match='must be of version 3.0: v2.1'):
    older.write_v21(old_folder, tmp_path / 'b')
  with pytest.raises(ValueError, match='a file per episode'):
    older.write_v21(conftest.IMAGES, tmp_path / 'b')
  (tmp_path / 'b').mkdir()
  with pytest.raises(ValueError, match='must be a new one'):
    older.write_v21(conftest.IMAGES, tmp_path / 'b')


@pytest.mark.parametrize('types', [None, b'{', b'{"info": 3}'])
def test_a_file_without_the_types_of_its_columns_is_named(tmp_path, types):
  test_writer.write(tmp_path / 'a', (3,))
  (data,) = (tmp_path / 'a/data').rglob('*.parquet')
  table = parquet.read_table(data)
  about = None if types is None else {'huggingface': types}
  parquet.write_table(table.replace_schema_metadata(about), data)
  with pytest.raises(ValueError, match=f'{data} must have the types'):
    older.write_v21(tmp_path / 'a', tmp_path / 'b')
  assert not (tmp_path / 'b').exists()


@pytest.mark.parametrize('place', ['_copy', 'sync'])
@pytest.mark.parametrize('fault', [KeyboardInterrupt, OSError])
def test_what_is_interrupted_leaves_nothing_and_begins_again(
  tmp_path, monkeypatch, place, fault
):
  test_writer.write(tmp_path / 'a', (3, 2))
  owner, name = (
    (older, '_copy') if place == '_copy' else (older.files, 'sync_tree')
  )
  real, calls = getattr(owner, name), []

  def fail(*args):
    real(*args)
    calls.append(sorted(os.listdir(tmp_path)))
    if place == 'sync' or len(calls) == 2:
      raise fault

  with monkeypatch.context() as patch:
    patch.setattr(owner, name, fail)
    with pytest.raises(fault):
      older.write_v21(tmp_path / 'a', tmp_path / 'b')
  assert calls[-1] == ['a', 'b.partial']
  assert os.listdir(tmp_path) == ['a']
  assert older.write_v21(tmp_path / 'a', tmp_path / 'b') == 2
  assert sorted(os.listdir(tmp_path)) == ['a', 'b']


def test_two_processes_do_not_write_one_folder(tmp_path):
  test_writer.write(tmp_path / 'a', (3,))
  (tmp_path / 'b.partial').mkdir()
  with pytest.raises(ValueError, match='b.partial, or was killed then'):
    older.write_v21(tmp_path / 'a', tmp_path / 'b')
  assert (tmp_path / 'b.partial').exists()
