"""Demonstrations as a LeRobot dataset, compared with the .npz shards."""

import numpy as np
import pytest

from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import reader
from rlt_jax.datasets.lerobot.episode_writer import EpisodeWriter
from rlt_jax.demonstrations import writer
from rlt_jax.demonstrations.collect import CollectConfig
from rlt_jax.sim.action_space import ActionSpace
from tests.demonstrations import point_demo_task
from tests.demonstrations.test_collect import collect_into, read

_TOP = format_lib.CAMERA_PREFIX + 'top'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('lerobot') / 'a'
  collect_into(folder, format='lerobot')
  return folder


def test_both_formats_hold_the_same_frames(folder, tmp_path):
  collect_into(tmp_path / 'npz')
  shards = read(tmp_path / 'npz')
  columns = {
    x: np.concatenate([s[x] for s in shards]) for x in shards[0]
    if shards[0][x].ndim  # of the folder, not of a frame
    and x not in ('action_scale', 'joint_names')
  }  # fmt: skip
  space = writer.load_space(tmp_path / 'npz')
  found = reader.LeRobotRecording(folder)
  assert found.fps == 25.0 and len(found.episodes) == 8
  for number, episode in enumerate(found.episodes):
    rows = columns['episode'] == number
    ours = {name: x[rows] for name, x in columns.items()}
    found.check_times(number)
    theirs = found.read_vectors(number, list(found.vectors))
    state = ours['proprio'][:, :3]
    np.testing.assert_array_equal(theirs['observation.state'], state)
    # A task without velocities.
    assert format_lib.JOINT_VELOCITY not in theirs
    np.testing.assert_allclose(
      theirs['complementary_info.remaining_motion'],
      ours['remaining_motion'],
      atol=1e-6,
    )
    commands = ActionSpace(space.scale, space.mode).decode(ours['chunk'], state)
    np.testing.assert_allclose(theirs['action'], commands[:, 0], atol=1e-6)
    pictures = np.stack(
      list(found.read_images(number, _TOP, np.arange(episode.length)))
    )
    np.testing.assert_array_equal(pictures, ours['images/top'])
    assert episode.instructions == (ours['instruction'][0],)
    success = episode.instructions == ('go to the goal',)
    for name in (format_lib.REWARD, format_lib.DONE, 'next.success'):
      expected = np.zeros((episode.length, 1))
      expected[-1] = success
      np.testing.assert_array_equal(theirs[name], expected)


def test_an_interrupted_dataset_goes_on_as_if_it_had_not_been(
  folder, tmp_path, monkeypatch
):
  finish, calls = EpisodeWriter.finish, []

  def interrupt(self):
    calls.append(self)
    if len(calls) == 7:  # in the second shard
      raise KeyboardInterrupt
    return finish(self)

  with monkeypatch.context() as patch:
    patch.setattr(EpisodeWriter, 'finish', interrupt)
    with pytest.raises(KeyboardInterrupt):
      collect_into(tmp_path / 'a', format='lerobot')
  assert format_lib.read_info(tmp_path / 'a').total_episodes == 6
  collect_into(tmp_path / 'a', format='lerobot', resume=True)
  for name in ('meta/stats.json', 'meta/info.json', 'meta/tasks.parquet'):
    ours, whole = (x / name for x in (tmp_path / 'a', folder))
    assert ours.read_bytes() == whole.read_bytes()
  (tmp_path / 'a/meta/info.json').unlink()
  with pytest.raises(ValueError, match='A new dataset needs a new folder'):
    collect_into(tmp_path / 'a', format='lerobot', resume=True)


def test_a_task_without_a_tip_has_no_motion_that_remains(tmp_path):
  task = point_demo_task.make_without_tip()
  collect_into(tmp_path / 'a', task, format='lerobot', episodes=4)
  features = format_lib.read_info(tmp_path / 'a').features
  assert 'complementary_info.remaining_motion' not in features


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'stride': 6}, 'stride must divide 50 control steps a second'),
    ({'space': ActionSpace(np.ones(3, np.float32))}, 'like must be left out'),
    ({'frames': False}, 'format must be npz without frames'),
    (
      {'action_mode': 'increment'},
      'action_mode must be left out .*: increment',
    ),
  ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    collect_into(tmp_path, format='lerobot', **changes)


def test_the_unit_of_others_has_their_mode(tmp_path):
  space = ActionSpace(np.ones(3, np.float32), 'offset')
  with pytest.raises(ValueError, match='of like, offset: increment'):
    collect_into(tmp_path, space=space, action_mode='increment')


def test_an_unknown_format_is_refused():
  with pytest.raises(ValueError, match='format must be one of'):
    CollectConfig(format='hdf5')
