import numpy as np
import pytest

from rlt_jax.demo_files import TaskFacts
from rlt_jax.rl_token import frame_plan
from rlt_jax.vlas.demo_source import EpisodeInfo

_EPISODES = [EpisodeInfo(5, 'lift')] * 3 + [
  EpisodeInfo(10 + i, 'insert') for i in range(20)
]


def _plan(count=60, seed=0):
  return frame_plan.choose(_EPISODES, count, 0.1, seed)


def test_the_most_common_instruction_is_chosen():
  plan = _plan()
  np.testing.assert_array_equal(plan.episodes, np.arange(3, 23))
  assert len(plan.test) == 2 and not set(plan.test) & set(plan.fit)
  few = _plan(4)
  assert len(few.episodes) == 4 and few.episodes.min() >= 3
  assert set(few.episodes) != set(_plan(4, seed=1).episodes)
  with pytest.raises(ValueError, match='two episodes or more: 1'):
    frame_plan.choose(_EPISODES[:1], 60, 0.1, 0)


def test_each_task_has_its_share_of_episodes_and_of_those_held_out():
  tasks = [
    TaskFacts('plug', 'insert', ('push in',), ('lift',), ()),
    TaskFacts('screw', 'drive', (), (), ()),
  ]
  episodes = [EpisodeInfo(3, 'push in')] * 10 + _EPISODES
  episodes += [EpisodeInfo(7, 'drive')] * 5
  plan = frame_plan.choose(episodes, 16, 0.1, 0, tasks)
  assert plan.tasks == ('plug', 'screw')
  assert np.bincount(plan.task).tolist() == [8, 5]
  texts = [episodes[i].instruction for i in plan.episodes]
  assert set(texts[:8]) == {'insert', 'push in'} and set(texts[8:]) == {'drive'}
  assert plan.task[plan.test].tolist() == [0, 1]
  assert sorted([*plan.fit, *plan.test]) == list(range(13))
  held = plan.number(plan.test)
  lengths = plan.lengths[plan.test]
  np.testing.assert_array_equal(plan.task_of(held), np.repeat([0, 1], lengths))
  # A task alone is chosen as one that the demonstrations do not name.
  alone = frame_plan.choose(_EPISODES, 10, 0.1, 3, tasks[:1])
  np.testing.assert_array_equal(alone.episodes, _plan(10, 3).episodes)
  np.testing.assert_array_equal(alone.test, _plan(10, 3).test)


def test_numbers_lead_back_to_episode_and_row():
  plan = _plan(4)
  numbers = plan.number(np.array([1, 3]))
  episodes, rows = plan.locate(numbers)
  lengths = plan.lengths[[1, 3]]
  np.testing.assert_array_equal(
    episodes, np.repeat(plan.episodes[[1, 3]], lengths)
  )
  np.testing.assert_array_equal(rows, np.concatenate(list(map(range, lengths))))


def test_a_drawn_sample_is_of_the_frames_and_in_order():
  frames = np.arange(100, 200)
  few = frame_plan.draw(frames, 30, 0)
  assert len(set(few)) == 30 and (np.diff(few) > 0).all()
  assert set(few) <= set(frames)
  np.testing.assert_array_equal(frame_plan.draw(frames, 100, 0), frames)


def _order(**changes):
  settings = {'block_frames': 40, 'frames_per_read': 4, 'seed': 0} | changes
  return frame_plan.order_of(_plan(), **settings)


def test_every_epoch_takes_each_frame_once():
  plan, order = _plan(), _order()
  fit = plan.number(plan.fit)
  blocks = list(order.blocks(0, 2 * len(fit)))
  assert max(map(len, blocks)) <= 40
  rows = np.concatenate(blocks)
  for epoch in (rows[: len(fit)], rows[len(fit) :]):
    np.testing.assert_array_equal(np.sort(epoch), fit)
  assert (rows[: len(fit)] != rows[len(fit) :]).any()
  for block in blocks:
    episodes, _ = plan.locate(block)
    assert len(np.unique(episodes)) >= len(block) / 8  # two pieces by chance


def test_an_order_is_entered_anywhere_and_depends_on_the_seed():
  whole = np.concatenate(list(_order().blocks(0, 700)))
  for first, last in ((0, 32), (64, 96), (300, 700), (600, 601)):
    part = np.concatenate(list(_order().blocks(first, last)))
    np.testing.assert_array_equal(part, whole[first:last])
  assert list(_order().blocks(5, 5)) == []
  for changes in ({'seed': 1}, {'block_frames': 30}, {'frames_per_read': 2}):
    other = np.concatenate(list(_order(**changes).blocks(0, 700)))
    assert (other != whole).any()
