import numpy as np
import pytest

from rlt_jax.datasets import aloha
from tests.datasets import aloha_files

_KEY = 'observations/images/cam_high'


def test_episodes_come_in_order_of_their_numbers(tmp_path):
  columns = {}
  for number in (10, 2, 0):
    columns[number] = aloha_files.episode(10 + number, seed=number)
    aloha_files.write(tmp_path / f'episode_{number}.hdf5', columns[number])
  (tmp_path / 'notes.txt').write_text('none')
  recording = aloha.AlohaRecording(tmp_path)
  assert [x.number for x in recording.episodes] == [0, 2, 10]
  assert [x.length for x in recording.episodes] == [10, 12, 20]
  assert recording.cameras[_KEY] == (12, 16)
  assert recording.vectors[aloha.STATE][13] == '13'
  found = recording.read_vectors(1, [aloha.STATE, aloha.ACTION])
  for key, column in found.items():
    np.testing.assert_array_equal(column, columns[2][key])
  rows = np.array([1, 5])
  pictures = np.stack(list(recording.read_images(1, _KEY, rows)))
  np.testing.assert_array_equal(pictures, columns[2][_KEY][rows])


def test_padded_jpegs_are_decoded(tmp_path):
  columns = aloha_files.episode(4)
  level = np.arange(12 * 16).reshape(12, 16, 1) * np.array([1, 0.5, 0.2])
  columns[_KEY][:] = level.astype(np.uint8)
  file = aloha_files.write(tmp_path / 'a.hdf5', columns, compressed=True)
  recording = aloha.AlohaRecording(file)
  assert recording.compressed
  found = np.stack(list(recording.read_images(0, _KEY, np.arange(4))))
  error = np.abs(found.astype(int) - columns[_KEY]).mean()
  assert found.shape == (4, 12, 16, 3) and error < 5.0


def _without(columns, key):
  return {k: x for k, x in columns.items() if key not in k}


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda x: _without(x, 'qpos'), r"\['observations/qpos'\] are missing"),
    (lambda x: _without(x, 'images'), 'images.* are missing'),
    (lambda x: x | {'action': x['action'][:3]}, 'as many rows in all columns'),
  ],
)
def test_files_of_another_form_are_refused(tmp_path, change, message):
  aloha_files.write(tmp_path / 'a.hdf5', change(aloha_files.episode(5)))
  with pytest.raises(ValueError, match=message):
    aloha.AlohaRecording(tmp_path)


def test_files_that_disagree_are_refused(tmp_path):
  columns = aloha_files.episode(5)
  aloha_files.write(tmp_path / 'a_0.hdf5', columns)
  aloha_files.write(tmp_path / 'a_1.hdf5', _without(columns, 'cam_low'))
  with pytest.raises(ValueError, match='must have the same columns'):
    aloha.AlohaRecording(tmp_path)


def test_damaged_files_are_named(tmp_path):
  columns = aloha_files.episode(5)
  columns['action'][2, 3] = np.nan
  file = aloha_files.write(tmp_path / 'a.hdf5', columns)
  recording = aloha.AlohaRecording(tmp_path)
  with pytest.raises(
    ValueError, match='finite: nan in row 2, entry 3 of .*a.h'
  ):
    recording.read_vectors(0, ['action'])
  file.write_bytes(file.read_bytes()[:3000])
  with pytest.raises(ValueError, match='a.hdf5 must be a whole HDF5 file'):
    aloha.AlohaRecording(tmp_path)
  file.unlink()
  with pytest.raises(ValueError, match='must be HDF5 files'):
    aloha.AlohaRecording(tmp_path)
