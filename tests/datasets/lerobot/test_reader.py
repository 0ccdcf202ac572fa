import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import layout, reader
from tests.datasets.conftest import all_pictures, CAMERAS, IMAGES, VIDEO
from tests.datasets.lerobot import v21
from tests.datasets.lerobot.files import change, DATA_FILE, set_info

_KEYS = ('observation.state', 'action', 'next.reward', 'timestamp')


def assert_same(recording, expected):
  """Compares all numbers with those of another recording."""
  for number, (one, other) in enumerate(
    zip(recording.episodes, expected.episodes, strict=True)
  ):
    assert one == other
    recording.check_times(number)
    found = recording.read_vectors(number, _KEYS)
    for key, column in expected.read_vectors(number, _KEYS).items():
      np.testing.assert_array_equal(found[key], column)
    np.testing.assert_array_equal(
      recording.read_interventions(number), expected.read_interventions(number)
    )


def test_columns_are_those_of_the_files():
  recording = reader.LeRobotRecording(IMAGES)
  table = pq.read_table(IMAGES / DATA_FILE)
  assert [x.length for x in recording.episodes] == [20, 25, 30]
  assert recording.episodes[2].instructions == ('Lift the plug.',)
  for key in _KEYS:
    parts = [recording.read_vectors(e, [key])[key] for e in range(3)]
    expected = np.array(table[key].to_pylist(), np.float32).reshape(75, -1)
    np.testing.assert_array_equal(np.concatenate(parts), expected)
  flags = np.concatenate([recording.read_interventions(e) for e in range(3)])
  assert flags.tolist() == table['intervention'].to_pylist()


def test_video_is_as_near_as_its_compression(lossless):
  recording = reader.LeRobotRecording(VIDEO)
  assert_same(recording, lossless)
  errors = [
    difference(recording, lossless, episode, camera).mean()
    for camera in CAMERAS
    for episode in range(3)
  ]
  assert np.mean(errors) < 2.5


def difference(recording, expected, episode, camera):
  key = f'observation.images.{camera}'
  found = all_pictures(recording, episode, key).astype(int)
  return np.abs(found - all_pictures(expected, episode, key))


def test_episodes_within_a_video_are_exact_to_the_frame(copy, lossless):
  folder = copy(VIDEO)
  key = f'observation.images.{CAMERAS[0]}'
  file = folder / f'videos/{key}/chunk-000/file-000.mp4'
  pictures = [all_pictures(lossless, episode, key) for episode in range(3)]
  file.unlink()
  v21.encode(file, np.concatenate(pictures), 30)
  recording = reader.LeRobotRecording(folder)
  for episode in range(3):
    assert not difference(recording, lossless, episode, CAMERAS[0]).any()


def test_rows_of_a_video_are_those_of_the_whole(lossless):
  recording = reader.LeRobotRecording(VIDEO)
  key = f'observation.images.{CAMERAS[0]}'
  whole = all_pictures(recording, 1, key)
  for rows in ([0, 7, 24], [13], [3, 4]):
    part = np.stack(list(recording.read_images(1, key, np.array(rows))))
    np.testing.assert_array_equal(part, whole[rows])


@pytest.mark.parametrize('video', [True, False])
def test_version_2_1_is_read_alike(video, lossless, old_folder, tmp_path):
  folder = old_folder if video else v21.write(IMAGES, tmp_path, video=False)
  recording = reader.LeRobotRecording(folder)
  assert recording.kind == 'LeRobot v2.1'
  assert_same(recording, lossless)
  assert not difference(recording, lossless, 1, CAMERAS[2]).any()


def test_episodes_in_several_files_and_row_groups_are_found(copy, lossless):
  folder = copy(IMAGES)
  table = pq.read_table(folder / DATA_FILE)
  # Row groups that episodes straddle, and the third episode in a second file.
  pq.write_table(table.slice(0, 45), folder / DATA_FILE, row_group_size=7)
  second = folder / 'data/chunk-000/file-001.parquet'
  pq.write_table(table.slice(45), second, row_group_size=11)
  file = 'meta/episodes/chunk-000/file-000.parquet'
  change(folder, file, **{'data/file_index': lambda x: [0, 0, 1]})
  recording = reader.LeRobotRecording(folder)
  assert_same(recording, lossless)
  key = f'observation.images.{CAMERAS[0]}'
  np.testing.assert_array_equal(
    all_pictures(recording, 1, key), all_pictures(lossless, 1, key)
  )


def test_episodes_are_found_by_number_where_one_is_gone(copy):
  folder = copy(IMAGES)
  table = pq.read_table(folder / DATA_FILE)
  pq.write_table(
    pa.concat_tables([table.slice(0, 20), table.slice(45)]), folder / DATA_FILE
  )
  file = folder / 'meta/episodes/chunk-000/file-000.parquet'
  rows = pq.read_table(file)
  pq.write_table(pa.concat_tables([rows.slice(0, 1), rows.slice(2)]), file)
  set_info(folder, total_episodes=2, total_frames=50)
  recording = reader.LeRobotRecording(folder)
  assert [x.number for x in recording.episodes] == [0, 2]
  lossless = reader.LeRobotRecording(IMAGES)
  np.testing.assert_array_equal(
    recording.read_vectors(1, ['action'])['action'],
    lossless.read_vectors(2, ['action'])['action'],
  )


def test_tasks_are_read_in_both_versions(old_folder):
  expected = {0: 'Insert the plug.', 1: 'Lift the plug.'}
  for folder in (IMAGES, old_folder):
    info = format_lib.read_info(folder)
    assert layout.find_tasks(folder, info) == expected


def _gap(values):
  return values[:5] + [x + 1 for x in values[5:]]


def _late(values):
  return values[:5] + [x + 0.01 for x in values[5:]]


@pytest.mark.parametrize(
  'columns, message',
  [
    ({'frame_index': _gap}, 'without gaps: 6 in row 5 of episode 0'),
    ({'timestamp': _late}, 'timestamp must be frame_index / fps, 0.1667 s'),
  ],
)
def test_rows_out_of_time_are_named(copy, columns, message):
  folder = copy(IMAGES)
  change(folder, **columns)
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match=message):
    recording.check_times(0)


def _without_a_number(values):
  return [[float('nan'), *values[0][1:]], *values[1:]]


@pytest.mark.parametrize(
  'columns, message',
  [
    ({'action': _without_a_number}, 'action must be finite: nan in row 0'),
    ({'action': lambda x: [None, *x[1:]]}, 'Every row must have a value'),
    ({'episode_index': lambda x: [0] * 75}, 'must have 20 rows in a block'),
  ],
)
def test_damaged_columns_are_named(copy, columns, message):
  folder = copy(IMAGES)
  change(folder, **columns)
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match=message):
    recording.read_vectors(0, ['action'])


def test_a_cut_parquet_file_is_named(copy):
  folder = copy(IMAGES)
  file = folder / DATA_FILE
  file.write_bytes(file.read_bytes()[:1000])
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match='file-000.parquet must be a whole'):
    recording.read_vectors(0, ['action'])
  file.unlink()
  with pytest.raises(ValueError, match='must hold .*file-000.parquet'):
    recording.read_vectors(0, ['action'])


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'total_episodes': 4}, 'says total_episodes 4, .* holds 3'),
    ({'total_frames': 70}, 'says total_frames 70, .* holds 75'),
  ],
)
def test_descriptions_that_disagree_are_refused(copy, changes, message):
  folder = copy(IMAGES)
  set_info(folder, **changes)
  with pytest.raises(ValueError, match=message):
    reader.LeRobotRecording(folder)


def test_columns_that_are_missing_are_named(copy):
  folder = copy(IMAGES)
  table = pq.read_table(folder / DATA_FILE)
  pq.write_table(table.drop_columns(['action']), folder / DATA_FILE)
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match=r"must have the columns \['action'\]"):
    recording.read_vectors(0, ['action'])


def _video_file(folder):
  return next((folder / 'videos').rglob('*.mp4'))


def test_videos_that_do_not_decode_are_named(copy):
  folder = copy(VIDEO)
  file = _video_file(folder)
  key = file.parents[1].name
  recording = reader.LeRobotRecording(folder)
  content = file.read_bytes()
  for text, message in (
    (content[: len(content) // 4], 'must decode|must have a picture'),
    (content[:200], 'must hold a video'),
    (b'none', 'must decode'),
    (None, 'must hold .*mp4: no such file'),
  ):
    file.unlink()
    if text is not None:
      file.write_bytes(text)
    with pytest.raises(ValueError, match=message):
      list(recording.read_images(0, key, np.arange(20)))


def test_a_video_that_is_too_short_is_named(copy, lossless):
  folder = copy(VIDEO)
  file = _video_file(folder)
  key = file.parents[1].name
  file.unlink()
  v21.encode(file, all_pictures(lossless, 0, key)[:10], 30)
  recording = reader.LeRobotRecording(folder)
  assert len(list(recording.read_images(0, key, np.arange(10)))) == 10
  with pytest.raises(ValueError, match='picture at 0.3333 s.*it ends before'):
    list(recording.read_images(0, key, np.arange(20)))


def test_a_video_at_another_rate_is_named(copy, lossless):
  folder = copy(VIDEO)
  file = _video_file(folder)
  key = file.parents[1].name
  file.unlink()
  v21.encode(file, all_pictures(lossless, 0, key), 20)
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match='0.0333 s, .*the next is at 0.0500 s'):
    list(recording.read_images(0, key, np.arange(20)))


def test_pictures_of_another_size_are_named(copy):
  folder = copy(VIDEO)
  info = json.loads((folder / format_lib.INFO_PATH).read_text('utf-8'))
  key = f'observation.images.{CAMERAS[0]}'
  info['features'][key]['shape'] = [48, 64, 3]
  set_info(folder, **info)
  recording = reader.LeRobotRecording(folder)
  with pytest.raises(ValueError, match='48x64 .* by info.json: .64, 64, 3.'):
    list(recording.read_images(0, key, np.arange(2)))
