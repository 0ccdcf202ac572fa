"""Datasets written by us: read back, killed, continued, refused."""

import json
import os

import numpy as np
import pytest

from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import reader, statistics
from rlt_jax.datasets.lerobot.format import Feature
from rlt_jax.datasets.lerobot.writer import Writer
from tests.datasets import conftest
from tests.kills import kill_when_ready

CAMERA = format_lib.CAMERA_PREFIX + 'wrist'
FEATURES = {
  'observation.state': Feature('float32', (2,), ('a', 'grip')),
  'action': Feature('float32', (2,), ('a', 'grip')),
  'intervention': Feature('bool', (1,)),
  'complementary_info.source': Feature('int64', (1,)),
  CAMERA: Feature(
    format_lib.IMAGE, (48, 64, 3), format_lib.HEIGHT_WIDTH_CHANNELS
  ),
}


def make_frame(episode, step):
  """A still joint, a moving one, and a picture that is smooth as real ones."""
  x = np.arange(64)[None, :, None] + 2 * step + 5 * episode
  y = np.arange(48)[:, None, None]
  image = 120 + 100 * np.sin((x + y * [1, 2, 3]) / 30.0)
  return {
    'observation.state': np.float32([0.1 * episode, 0.01 * step]),
    'action': np.float32([0.1 * episode, 0.01 * step + 0.005]),
    'intervention': step % 2 == 0,
    'complementary_info.source': step % 3,
    CAMERA: image.astype(np.uint8),
  }


def write(folder, lengths, **options):
  """Writes episodes of these lengths, or goes on until there are so many."""
  options = {'fps': 25, 'robot_type': 'rig'} | options
  with Writer(folder, FEATURES, **options) as writer:
    for number in range(writer.num_episodes, len(lengths)):
      task = 'insert' if number % 3 else 'pull'
      with writer.episode(task, outcome='success') as episode:
        for step in range(lengths[number]):
          episode.add(make_frame(number, step))


def check(folder, lengths):
  """Reads it with our reader and compares every number and pixel."""
  found = reader.LeRobotRecording(folder)
  assert found.fps == 25 and found.info.robot_type == 'rig'
  assert [x.length for x in found.episodes] == list(lengths)
  for number, length in enumerate(lengths):
    found.check_times(number)
    frames = [make_frame(number, step) for step in range(length)]
    columns = found.read_vectors(number, [x for x in FEATURES if x != CAMERA])
    for key, column in columns.items():
      expected = np.stack([np.atleast_1d(x[key]) for x in frames])
      np.testing.assert_array_equal(column, expected)
    pictures = conftest.all_pictures(found, number, CAMERA)
    error = pictures - np.int32([x[CAMERA] for x in frames])
    lossless = found.info.features[CAMERA].dtype == format_lib.IMAGE
    assert np.abs(error).mean() <= (0.0 if lossless else 3.0)
    task = 'insert' if number % 3 else 'pull'
    assert found.episodes[number].instructions == (task,)
  return found


def test_a_lossless_dataset_returns_the_very_frames(tmp_path):
  lengths = (5, 3, 4, 1)
  write(tmp_path, lengths)
  check(tmp_path, lengths)
  stats = json.loads((tmp_path / 'meta/stats.json').read_text())
  states = np.concatenate([
    [make_frame(n, x)['observation.state'] for x in range(length)]
    for n, length in enumerate(lengths)
  ])  # fmt: skip
  for name, share in statistics.QUANTILES.items():
    np.testing.assert_allclose(
      stats['observation.state'][name],
      np.quantile(np.float64(states), share, 0),
    )
  # Still within each episode, and yet of a width.
  low, high = (stats['observation.state'][x][0] for x in ('q01', 'q99'))
  assert high - low > 0.2
  assert stats[CAMERA]['count'] == [13]
  assert np.shape(stats[CAMERA]['q50']) == (3, 1, 1)


@pytest.mark.parametrize('video', ['h264', 'av1'])
def test_a_dataset_with_videos_returns_frames_within_tolerance(tmp_path, video):
  write(tmp_path, (6, 4), video=video)
  found = check(tmp_path, (6, 4))
  assert found.info.features[CAMERA].info['video.codec'] == video
  assert len(list(tmp_path.rglob('*.mp4'))) == 2


def test_an_encoded_picture_is_kept_as_it_is(tmp_path, lossless):
  from rlt_jax.robot.recording import png

  frame = make_frame(0, 0)
  content = png.encode(frame[CAMERA])
  with Writer(tmp_path, FEATURES, fps=25) as writer:
    with writer.episode('insert') as episode:
      episode.add(frame | {CAMERA: content})
  (data,) = (tmp_path / 'data').rglob('*.parquet')
  assert content in data.read_bytes()
  found = reader.LeRobotRecording(tmp_path)
  (picture,) = found.read_images(0, CAMERA, np.arange(1))
  np.testing.assert_array_equal(picture, frame[CAMERA])


def test_it_has_the_columns_that_lerobot_writes(tmp_path):
  import pyarrow.parquet as parquet

  write(tmp_path, (2,))
  for name in (
    'meta/tasks.parquet',
    'meta/episodes/chunk-000/file-000.parquet',
    'data/chunk-000/file-000.parquet',
  ):
    ours, theirs = (
      parquet.read_schema(x / name) for x in (tmp_path, conftest.IMAGES)
    )
    for field in ours:
      if field.name in theirs.names:
        expected = str(theirs.field(field.name).type).replace('[14]', '[2]')
        assert str(field.type) == expected, field
  # All of theirs but those of features that only they have.
  ours = parquet.read_schema(
    tmp_path / 'meta/episodes/chunk-000/file-000.parquet'
  )
  theirs = parquet.read_schema(
    conftest.IMAGES / 'meta/episodes/chunk-000/file-000.parquet'
  )
  missing = set(theirs.names) - set(ours.names)
  assert not [
    x
    for x in missing
    if not x.startswith(('stats/observation.images', 'stats/next'))
  ]


@pytest.mark.parametrize('video', ['', 'h264'])
def test_a_kill_loses_the_open_episode_alone(tmp_path, video):
  folder = tmp_path / 'a'
  program = f"""
    import time
    from tests.datasets.lerobot import test_writer as here
    writer = here.Writer(
      {str(folder)!r}, here.FEATURES, fps=25, robot_type='rig', video={video!r}
    )
    for number in range(3):
      task = 'insert' if number else 'pull'
      with writer.episode(task, outcome='success') as episode:
        for step in range(4):
          episode.add(here.make_frame(number, step))
        if number == 2:
          print('ready', flush=True)
          time.sleep(60)
  """
  kill_when_ready(program)
  assert list(folder.rglob('*.partial'))
  check(folder, (4, 4))
  write(folder, (4, 4, 4), video=video, resume=True)
  check(folder, (4, 4, 4))
  assert not list(folder.rglob('*.partial'))
  # As if it had never been interrupted.
  write(tmp_path / 'b', (4, 4, 4), video=video)
  for name in ('meta/stats.json', 'meta/info.json'):
    assert (folder / name).read_text() == (tmp_path / 'b' / name).read_text()


def test_files_of_an_episode_that_info_does_not_count_are_removed(tmp_path):
  write(tmp_path, (3, 2))
  counted = (tmp_path / 'meta/info.json').read_bytes()
  write(tmp_path, (3, 2, 5), resume=True)
  # A kill between the last two names.
  (tmp_path / 'meta/info.json').write_bytes(counted)
  write(tmp_path, (3, 2), resume=True)
  check(tmp_path, (3, 2))
  assert len(list(tmp_path.rglob('file-*'))) == 4


def test_episodes_at_the_end_can_be_removed(tmp_path):
  write(tmp_path, (3, 2, 4))
  with Writer(
    tmp_path, FEATURES, fps=25, robot_type='rig', resume=True
  ) as writer:
    writer.truncate(1)
  check(tmp_path, (3,))
  write(tmp_path, (3, 1), resume=True)
  check(tmp_path, (3, 1))


def test_an_episode_that_fails_leaves_nothing(tmp_path):
  with Writer(tmp_path, FEATURES, fps=25, video='h264') as writer:
    with pytest.raises(RuntimeError):
      with writer.episode('insert') as episode:
        episode.add(make_frame(0, 0))
        raise RuntimeError
    with pytest.raises(ValueError, match='at least one frame'):
      with writer.episode('insert'):
        pass
    assert not [x for x in tmp_path.rglob('*.p*') if x.is_file()]
    assert writer.num_episodes == 0


@pytest.mark.parametrize(
  'change, message',
  [
    ({'action': np.zeros(3, np.float32)}, r'action must be float32 \[2\]'),
    ({'action': np.float32([0, np.nan])}, 'action must be finite'),
    ({'intervention': 0.5}, 'intervention must be bool'),
    ({'other': 1}, r"\['other'\] are missing or not of it"),
    ({CAMERA: np.zeros((64, 48, 3), 'u1')}, r'must be uint8 \[48, 64, 3\]'),
    ({CAMERA: b'no picture'}, 'Pictures must decode'),
  ],
)
def test_a_frame_that_does_not_fit_is_refused(tmp_path, change, message):
  writer = Writer(tmp_path, FEATURES, fps=25)
  with pytest.raises(ValueError, match=message):
    with writer.episode('insert') as episode:
      episode.add(make_frame(0, 0) | change)


@pytest.mark.parametrize(
  'features, options, message',
  [
    ({}, {'fps': 50 / 6}, 'fps must be a whole number'),
    ({}, {'video': 'vp9'}, 'video must be one of'),
    ({'index': Feature('int64', (1,))}, {}, 'index is written by itself'),
    ({'a': Feature('string', (1,))}, {}, 'a must be a vector'),
    (
      {'c': Feature(format_lib.IMAGE, (5, 6, 3))},
      {'video': 'h264'},
      'even height and width: 5x6',
    ),
  ],
)
def test_a_dataset_that_cannot_be_written_is_refused(
  tmp_path, features, options, message
):
  with pytest.raises(ValueError, match=message):
    Writer(tmp_path, features, **{'fps': 25, **options})
  assert not os.listdir(tmp_path)


def test_another_dataset_is_not_continued(tmp_path):
  write(tmp_path, (2,))
  with pytest.raises(ValueError, match='A new dataset needs a new folder'):
    Writer(tmp_path, FEATURES, fps=25)
  for change, message in (
    ({'fps': 50}, 'must keep its fps: 25.0'),
    ({'video': 'av1'}, 'must keep its features'),
    ({'robot_type': 'else'}, 'must keep its robot_type'),
  ):
    options = {'fps': 25, 'robot_type': 'rig', 'resume': True} | change
    with pytest.raises(ValueError, match=message):
      Writer(tmp_path, FEATURES, **options)
