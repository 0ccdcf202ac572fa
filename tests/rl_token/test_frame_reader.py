import threading
import time

import numpy as np
import pytest

from rlt_jax.rl_token import frame_plan, frame_reader
from rlt_jax.vlas.demo_source import MemorySource


class _Slow(MemorySource):
  """Reads slowly, later reads sooner; counts the frames that are read."""

  def __init__(self, demos, waits):
    super().__init__(demos)
    self._waits, self.read_frames, self._lock = waits, 0, threading.Lock()

  def read_rows(self, episode, rows, *, images=True):
    time.sleep(self._waits[episode % len(self._waits)])
    with self._lock:
      self.read_frames += len(rows)
    if episode == 17 and len(rows) == 10:
      raise ValueError('episode 17 is damaged')
    return super().read_rows(episode, rows, images=images)


def _reader(demos, waits=(0.0,), threads=3):
  source = _Slow(demos, waits)
  plan = frame_plan.choose(source.episodes, 24, 0.1, 0)
  return frame_reader.FrameReader(
    source=source, plan=plan, threads=threads, block_frames=16
  )


def test_frames_come_in_order_whatever_thread_is_faster(demos):
  frames = np.random.default_rng(0).permutation(165)
  stored = demos.frames
  for waits, threads in (((0.004, 0.0, 0.002), 3), ((0.0,), 1)):
    found = list(_reader(demos, waits, threads).read(frames, 30))
    assert [len(x.proprio) for x in found] == [30] * 5 + [15]
    for field in ('proprio', 'chunk', 'episode'):
      column = np.concatenate([getattr(x, field) for x in found])
      np.testing.assert_array_equal(column, getattr(stored, field)[frames])
    images = np.concatenate([x.images['side'] for x in found])
    np.testing.assert_array_equal(images, stored.images['side'][frames])
  (numbers,) = _reader(demos).read(frames[:5], 5, images=False)
  assert numbers.images == {}


def test_no_more_is_read_than_the_next_block(demos):
  reader = _reader(demos)
  blocks = (np.arange(i, i + 16) for i in range(0, 160, 16))
  running = reader.read_blocks(blocks)
  next(running)
  time.sleep(0.05)
  assert reader.source.read_frames <= 32
  before = threading.active_count()
  running.close()
  assert threading.active_count() < before


def test_a_damaged_episode_ends_the_reading(demos):
  running = _reader(demos).read_blocks([np.arange(10), np.arange(170, 180)])
  next(running)
  with pytest.raises(ValueError, match='episode 17 is damaged'):
    next(running)


def test_batches_cross_the_borders_of_blocks():
  blocks = [{'x': np.arange(5)}, {'x': np.arange(5, 6)}, {'x': np.arange(6, 9)}]
  found = [x['x'].tolist() for x in frame_reader.batches(blocks, 4)]
  assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
