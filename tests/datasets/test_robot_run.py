"""Runs of a robot on fakes, exported and read back."""

import functools
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.datasets import robot_run
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import reader
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import ScriptedTeleoperator
from rlt_jax.robot.recording import episodes, pictures
from rlt_jax.robot.recording.picture_store import PictureStore
from rlt_jax.types import Source
from tests.datasets.conftest import all_pictures
from tests.robot.fakes import BUNDLE, FakeRobot

_CAMERA = format_lib.CAMERA_PREFIX + 'wrist'
_ABOUT = pictures.describe(BUNDLE, 'rig', {'wrist': (8, 8, 3)})
_HANDOVER = [(0.5, Kind.TAKEOVER), (1.2, Kind.RELEASE), (2.2, Kind.SUCCESS)]
_FAILURE, _SUCCESS = [(0.6, Kind.FAILURE)], [(0.6, Kind.SUCCESS)]
_TARGET = np.array([0.05, 0.0, 0.012])  # where the person holds the arm


class Run:
  """A folder with episodes that a fake robot drove; `shown` has its pictures.

  lost: (episode, recording, step) of pictures that are dropped.
  """

  def __init__(self, folder):
    self.folder, self.shown, self.lost = folder, {}, set()

  def drive(self, script, number):
    store = PictureStore(self.folder / 'pictures', _ABOUT)

    def keep(query, images):
      if query.stamp.key not in self.lost:
        self.shown[query.stamp.key] = images['wrist'].copy()
        store.put(query, images)

    robot = FakeRobot(
      self.folder / 'journal',
      keep=keep,
      time_limit=200,
      device=functools.partial(
        ScriptedTeleoperator, script, pose=lambda s: _TARGET
      ),
    )
    robot.controller.begin('practice', version=7, number=number)
    robot.loop.run(lambda step: robot.controller.ended or robot.loop.stopped)
    robot.controller.end()
    robot.journal.close()
    store.close()

  def episodes(self):
    return list(episodes.read(self.folder / 'journal'))


@pytest.fixture
def run(tmp_path):
  run = Run(tmp_path / 'run')
  run.drive(_HANDOVER, 0)
  run.drive(_FAILURE, 1)
  return run


def read_fields(folder):
  import pyarrow.parquet as parquet

  files = sorted((folder / 'meta/episodes').rglob('*.parquet'))
  return [parquet.read_table(x).to_pylist()[0] for x in files]


def test_rows_are_the_journals_and_pictures_the_loops(run, tmp_path):
  counts = robot_run.export(run.folder, tmp_path / 'a')
  found = reader.LeRobotRecording(tmp_path / 'a')
  assert found.fps == 25 and found.info.robot_type == 'rig'
  assert counts.parts == len(found.episodes) == 4
  assert counts.frames == sum(x.length for x in found.episodes)
  assert counts.missing == counts.blind == counts.unlabeled == 0
  names = found.info.features['action'].names
  assert names == BUNDLE.joint_names
  flags = []
  for number, row in enumerate(read_fields(tmp_path / 'a')):
    columns = found.read_vectors(number, list(found.vectors))
    episode = run.episodes()[row['run_episode']]
    steps = episode.recordings[row['recording']].steps[:: BUNDLE.replay_stride]
    assert (row['outcome'], row['first_step']) == (episode.outcome, 0)
    assert row['policy_version'] == 7 and row['tasks'] == [BUNDLE.prompt]
    expected = np.stack([x.command for x in steps])
    np.testing.assert_array_equal(columns['action'], np.float32(expected))
    expected = np.stack([x.measured for x in steps])
    np.testing.assert_array_equal(
      columns['observation.state'], np.float32(expected)
    )
    sources = np.array([[x.source] for x in steps])
    np.testing.assert_array_equal(columns[format_lib.SOURCE], sources)
    human = found.read_interventions(number)
    np.testing.assert_array_equal(human, sources[:, 0] == Source.HUMAN)
    flags.append(set(human.tolist()))
    shown = [
      run.shown[(row['run_episode'], row['recording'], 2 * step)]
      for step in range(len(steps))
    ]
    np.testing.assert_array_equal(all_pictures(found, number, _CAMERA), shown)
    velocity = columns[format_lib.JOINT_VELOCITY]
    features = episode.recordings[row['recording']].features
    mean, std = np.array(BUNDLE.proprio_mean), np.array(BUNDLE.proprio_std)
    expected = [(features[2 * i].proprio * std + mean)[3:] for i in range(3)]
    np.testing.assert_allclose(velocity[:3], expected, atol=1e-6)
    last = [columns[x][-1, 0] for x in ('next.reward', 'next.done')]
    assert last == [[0, 0], [0, 0], [1, 1], [0, 1]][number]
    assert columns['next.done'][:-1].sum() == 0
  # The robot, the person, the robot; and the robot alone.
  assert flags == [{False}, {True}, {False}, {False}]


def test_missing_pictures_end_an_episode_and_are_counted(run, tmp_path):
  run.lost = {(2, 0, 4), (2, 0, 6)}
  run.drive(_SUCCESS, 2)
  counts = robot_run.export(run.folder, tmp_path / 'a', outcomes=['success'])
  assert (counts.missing, counts.unlabeled) == (2, 1)
  assert '2 steps lack their pictures' in counts.describe()
  rows = read_fields(tmp_path / 'a')[-2:]
  assert [x['first_step'] for x in rows] == [0, 8] and rows[0]['length'] == 2
  found = reader.LeRobotRecording(tmp_path / 'a')
  ends = [found.read_vectors(x, ['next.done'])['next.done'][-1] for x in (3, 4)]
  assert ends == [0, 1]


@pytest.mark.parametrize('video', ['', 'h264'])
def test_a_run_that_went_on_is_added(run, tmp_path, video):
  options = {'video': video, 'resume': True}
  robot_run.export(run.folder, tmp_path / 'a', video=video)
  run.drive(_SUCCESS, 2)
  counts = robot_run.export(run.folder, tmp_path / 'a', **options)
  assert (counts.done, counts.parts) == (4, 1)
  robot_run.export(run.folder, tmp_path / 'b', video=video)
  for name in ('meta/info.json', 'meta/stats.json'):
    ours, whole = (tmp_path / x / name for x in 'ab')
    assert json.loads(ours.read_text()) == json.loads(whole.read_text())
  with pytest.raises(ValueError, match='must be of the same run and outcomes'):
    robot_run.export(
      run.folder, tmp_path / 'a', outcomes=['failure'], **options
    )


def test_what_a_person_discarded_is_left_out(run, tmp_path):
  run.drive([(0.6, Kind.RERECORD)], 2)
  counts = robot_run.export(run.folder, tmp_path / 'a')
  assert (counts.parts, counts.unlabeled) == (4, 1)
  with pytest.raises(ValueError, match=r"outcomes must be of .*'rerecord'"):
    robot_run.export(run.folder, tmp_path / 'b', outcomes=['rerecord'])


def test_a_folder_that_is_no_run_with_pictures_is_refused(tmp_path):
  with pytest.raises(ValueError, match='A run of a robot must hold journal'):
    robot_run.export(tmp_path, tmp_path / 'a')
  (tmp_path / 'journal').mkdir()
  with pytest.raises(ValueError, match='with --keep_pictures'):
    robot_run.export(tmp_path, tmp_path / 'a')


def test_pictures_of_other_cameras_are_refused(run, tmp_path):
  other = _ABOUT | {'prompt': 'pull'}
  journal = run.folder / 'pictures'
  store = PictureStore(journal, other)
  item = next(pictures.read(pictures.find(journal)[0].entry))
  store._journal.begin({'episode': 9} | other)
  arrays = {'pose': item.pose, 'proprio': item.proprio}
  store._journal.append(arrays, {'obs_time': 0.0} | item.key._asdict())
  store._journal.end()
  store.close()
  with pytest.raises(ValueError, match='must have one prompt: insert at first'):
    robot_run.export(run.folder, tmp_path / 'a')


def test_the_command_exports_and_writes_the_older_version(run, tmp_path):
  def export(*flags):
    command = [sys.executable, '-m', 'experiments.export_dataset', *flags]
    done = subprocess.run(
      command, capture_output=True, text=True, check=False, timeout=100.0
    )
    return (done.stdout + done.stderr).splitlines()[-1]

  first, older = (f'--out={tmp_path / x}' for x in 'ab')
  said = export(f'--run={run.folder}', first, '--outcomes=failure')
  assert '1 episodes with 12 frames written; 1 episodes of the run' in said
  assert export(f'--dataset={tmp_path / "a"}', older).endswith(
    '1 episodes of version 2.1 written.'
  )
  assert reader.LeRobotRecording(tmp_path / 'b').kind == 'LeRobot v2.1'
  assert export(older) == 'error: Give either --run or --dataset.'
  assert export(f'--dataset={tmp_path / "a"}', older, '--video=av1') == (
    'error: --dataset takes no other flag than --out.'
  )


_INTERRUPTED = """
import runpy
import signal
import sys
from rlt_jax.datasets import robot_run
from rlt_jax.datasets.lerobot import older

def stop(*_, **__):
  signal.raise_signal(signal.SIGTERM)

older.write_v21 = robot_run.export = stop
sys.argv[0] = 'export_dataset'
runpy.run_module('experiments.export_dataset', None, '__main__', True)
"""


def test_an_interrupted_command_says_what_is_so(tmp_path):
  def interrupt(flag):
    done = subprocess.run(
      [sys.executable, '-c', _INTERRUPTED, flag, f'--out={tmp_path / "a"}'],
      capture_output=True,
      text=True,
      check=False,
      timeout=100.0,
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    return done.stderr

  assert interrupt('--dataset=x') == '\nStopped by SIGTERM.\n'
  assert 'Nothing to save yet. Start again' in interrupt('--run=x')
  (tmp_path / 'a/meta').mkdir(parents=True)
  (tmp_path / 'a/meta/info.json').touch()
  assert 'Saved. Continue with: ' in interrupt('--run=x')
