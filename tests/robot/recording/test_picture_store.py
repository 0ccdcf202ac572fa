"""Pictures beside the journal: pairing, slow and full disks, kills."""

import contextlib
import dataclasses
import errno
import io
import os
import threading
import time

import numpy as np
from PIL import Image
import pytest

from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.robot.recording import episodes, picture_store, pictures
from rlt_jax.robot.recording.episode_recorder import RecordedStep
from rlt_jax.robot.recording.picture_store import PictureStore
from tests.kills import kill_when_ready
from tests.robot.fakes import BUNDLE, FakeRobot

_ABOUT = pictures.describe(BUNDLE, 'rig', {'wrist': (8, 8, 3)})
_MB = 1 << 20


def _query(step, episode=0):
  stamp = RecordedStep(1 + episode, step, episode, 0)
  proprio = np.full(6, step, np.float32)
  return VlaQuery(stamp, 0.0, 0.1 * step, np.full(3, step), proprio, step)


def _images(value):
  return {'wrist': np.full((8, 8, 3), value, np.uint8)}


def _decode(data):
  return np.asarray(Image.open(io.BytesIO(data)))


def _read(folder):
  found = pictures.find(folder)
  return {n: list(pictures.read(x.entry)) for n, x in found.items()}


def test_the_last_picture_of_each_step_is_kept(tmp_path):
  with PictureStore(tmp_path, _ABOUT) as store:
    # Before its first step the arm waits and is observed again and again.
    for value in (1, 2, 3):
      store.put(_query(0), _images(value))
    store.put(_query(2), _images(4))
    store.put(_query(0, episode=5), _images(5))
  assert (store.kept, store.dropped) == (3, 0)
  assert store.status().startswith('Pictures: 3 observations kept')
  found = _read(tmp_path)
  assert [x.key for x in found[0]] == [(0, 0, 0), (0, 0, 2)]
  assert [_decode(x.images['wrist'])[0, 0, 0] for x in found[0]] == [3, 4]
  (last,) = found[5]
  assert last.key == (5, 0, 0) and last.obs_time == 0.0
  about = pictures.find(tmp_path)[5].about
  assert about['episode'] == 5 and about['joint_names'] == ['a', 'b', 'grip']
  assert about['cameras'] == {'wrist': [8, 8, 3]}


def test_pictures_belong_to_the_rows_of_the_journal(tmp_path):
  shown = {}
  store = PictureStore(tmp_path / 'pictures', _ABOUT)

  def keep(query, images):
    shown[query.stamp.key] = images['wrist'].copy()
    store.put(query, images)

  # A takeover in between is a hold, so the episode has two recordings.
  script = [(0.3, Kind.TAKEOVER), (0.5, Kind.RELEASE)]
  robot = FakeRobot(tmp_path / 'journal', script=script, keep=keep)
  robot.episode()
  store.close()
  (episode,) = episodes.read(tmp_path / 'journal')
  assert len(episode.recordings) > 1
  observations = _read(tmp_path / 'pictures')[episode.begin['episode']]
  assert store.dropped == 0 and len(observations) == store.kept
  found = {x.key: x for x in observations}
  for index, recording in enumerate(episode.recordings):
    for step in recording.features:
      seen = found[(0, index, step)]
      np.testing.assert_array_equal(
        _decode(seen.images['wrist']), shown[seen.key]
      )
      if step < len(recording.steps):
        np.testing.assert_array_equal(seen.pose, recording.steps[step].measured)


def test_a_slow_disk_drops_pictures_and_delays_nobody(tmp_path):
  go, threads = threading.Event(), set()

  def write(fd, data):
    threads.add(threading.current_thread().name)
    if threading.current_thread().name == 'pictures':
      go.wait(10.0)
    return os.write(fd, data)

  size = 8 * 8 * 3
  store = PictureStore(
    tmp_path, _ABOUT, max_waiting_bytes=4 * size, write=write
  )
  began = time.monotonic()
  for step in range(50):
    store.put(_query(step), _images(step))
  assert time.monotonic() - began < 1.0
  assert store.dropped >= 45
  assert 'dropped, because the disk or the processor' in store.new_drops()
  assert store.new_drops() == ''
  go.set()
  store.close()
  assert store.kept + store.dropped == 50 and threads == {'pictures'}
  assert len(_read(tmp_path)[0]) == store.kept > 0


def test_a_disk_that_fills_up_costs_pictures_only(tmp_path):
  full = threading.Event()

  def write(fd, data):
    if full.is_set():
      raise OSError(errno.ENOSPC, 'full')
    return os.write(fd, data)

  store = PictureStore(tmp_path / 'a', _ABOUT, write=write)
  store.put(_query(0), _images(0))
  store.put(_query(1), _images(1))
  while store.kept < 1:
    time.sleep(0.001)
  full.set()
  store.put(_query(2), _images(2))
  while store.dropped < 1:
    time.sleep(0.001)
  assert store.cause == 'the disk is full'
  full.clear()
  store.close()
  assert [x.key.step for x in _read(tmp_path / 'a')[0]] == [0, 2]
  # The journal needs the last of the disk.
  with PictureStore(tmp_path / 'b', _ABOUT, min_free_bytes=1 << 60) as store:
    store.put(_query(0), _images(0))
  assert (store.kept, store.dropped) == (0, 1)
  assert 'GB free for the rest of the run' in store.status()


def test_what_a_killed_process_wrote_still_loads(tmp_path):
  program = f"""
    import time
    from rlt_jax.robot.recording.picture_store import PictureStore
    from tests.robot.recording import test_picture_store as here
    store = PictureStore({str(tmp_path)!r}, here._ABOUT)
    for step in range(40):
      store.put(here._query(step, step // 10), here._images(step))
    while store.kept < 39:
      time.sleep(0.01)
    print('ready', flush=True)
    time.sleep(60)
  """
  kill_when_ready(program)
  expected = [10, 10, 10, 9]
  assert [len(x) for x in _read(tmp_path).values()] == expected
  (open_file,) = tmp_path.glob('*.open')
  with open_file.open('ab') as file:
    file.write(b'half a record')
  assert [len(x) for x in _read(tmp_path).values()] == expected
  with PictureStore(tmp_path, _ABOUT) as store:
    store.put(_query(0, 4), _images(9))
  assert [len(x) for x in _read(tmp_path).values()] == [*expected, 1]


@pytest.mark.parametrize(
  'control_hz, stride, rate', [(25.0, 2, '12.5'), (1.0, 2, '0.5')]
)
def test_a_rate_that_no_dataset_has_is_refused_before_the_run(
  tmp_path, control_hz, stride, rate
):
  spec = dataclasses.replace(
    BUNDLE, control_hz=control_hz, replay_stride=stride
  )
  with contextlib.ExitStack() as stack:
    with pytest.raises(ValueError, match=f'a whole number .* are {rate}.'):
      picture_store.open_store(tmp_path, spec, 'rig', {}, stack)
  assert not list(tmp_path.iterdir())


def test_a_run_says_what_its_pictures_may_cost():
  about = _ABOUT | {'cameras': {x: [480, 640, 3] for x in 'abc'}}
  # 3 x 0.92 MB at 25 Hz.
  assert pictures.estimate(about, 41_472 * _MB) == (
    'Keeping pictures of 3 cameras at 25 Hz: at most 4.147 GB a minute of '
    'practice, room for 10 minutes at least.'
  )


@pytest.mark.parametrize('bad', [np.zeros((8, 8, 3)), np.zeros((8, 8), 'u1')])
def test_pictures_that_cannot_be_written_stop_no_run(tmp_path, bad):
  with PictureStore(tmp_path, _ABOUT) as store:
    store.put(_query(0), {'wrist': bad})
    store.put(_query(1), _images(1))
  assert (store.kept, store.dropped) == (0, 2)
  assert 'A picture must be uint8' in store.status()
