"""Stretches of episodes, by hand: who drove, how they ended, what is kept."""

import jax
import numpy as np
import pytest

from rlt_jax.demonstrations import writer
from rlt_jax.finetuning.recorder import Recorder
from rlt_jax.rollout import chunk_rollout
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.types import Outcome
from tests.demonstrations import point_demo_task

_CHUNK, _WORLDS = 10, 2
_BOTH = np.ones(_WORLDS, bool)
_FIRST = np.array([True, False])


@pytest.fixture(scope='module')
def task():
  return point_demo_task.make(TaskConfig(time_limit=40))


@pytest.fixture(scope='module')
def rollout(task):
  return chunk_rollout.make(task)


@pytest.fixture
def worlds(rollout):
  return rollout.begin(jax.random.split(jax.random.key(0), _WORLDS), _WORLDS)


def recorder(task, **changes):
  settings = {'worlds': _WORLDS, 'stride': 2, 'whole': False}
  return Recorder(task, **(settings | changes))


def move(rollout, states, speed):
  """Drives a chunk to the right, `speed` [E] m a step."""
  way = np.zeros((_WORLDS, _CHUNK, 3), np.float32)
  way[..., 0] = np.asarray(speed)[:, None] * np.arange(1, _CHUNK + 1)
  return rollout.chunk(states, np.asarray(states.qpos)[:, None] + way)


def test_a_stretch_ends_where_another_drives_on(task, rollout, worlds):
  kept = recorder(task)
  first = move(rollout, worlds, [1e-3, 1e-3])
  kept.add(worlds, first, _FIRST)
  second = move(rollout, first.final, [1e-3, 1e-3])
  kept.add(first.final, second, _FIRST)
  assert kept.demos == []  # it goes on
  third = move(rollout, second.final, [1e-3, 1e-3])
  kept.add(second.final, third, ~_BOTH)
  (demo,) = kept.demos
  assert len(demo.commands) == 20
  np.testing.assert_array_equal(demo.frame_steps, np.arange(0, 20, 2))
  assert demo.outcome == Outcome.RUNNING
  # What was executed, and the pose at the end, which is of the next chunk.
  executed = np.concatenate([first.command[0], second.command[0]])
  np.testing.assert_allclose(demo.commands, executed)
  np.testing.assert_allclose(demo.final_pose, second.final.qpos[0])
  np.testing.assert_allclose(demo.joints[0], worlds.qpos[0])
  assert demo.images['top'].shape[0] == 10


def test_steps_past_the_end_of_a_stretch_are_not_valid(task, rollout, worlds):
  kept = recorder(task)
  kept.add(worlds, move(rollout, worlds, [1e-3, 1e-3]), _FIRST)
  (demo,) = kept.finish(worlds)
  columns = writer.to_columns(
    [demo],
    ActionSpace(np.full(3, 1e-3, np.float32), 'offset'),
    first=0,
    horizon=8,
    control_hz=50.0,
    remaining_motion=lambda pose, final: np.zeros((len(pose), 6)),
  )
  # Frames at 0, 2, ..., 8 of ten steps, and chunks of eight.
  np.testing.assert_array_equal(
    columns['chunk_valid'].sum(axis=1), [8, 8, 6, 4, 2]
  )
  last = columns['chunk_valid'][-1]
  np.testing.assert_array_equal(last, [True] * 2 + [False] * 6)


def test_what_ends_in_a_failure_is_left_out(task, rollout, worlds):
  kept = recorder(task)
  # 20 mm a step leave 0.3 m after two chunks; the second world stands still.
  states = worlds
  while (np.asarray(states.outcome) == Outcome.RUNNING).any():
    after = move(rollout, states, [0.02, 0.0])
    running = np.asarray(states.outcome) == Outcome.RUNNING
    kept.add(states, after, running)
    states = after.final
  assert states.outcome.tolist() == [2, Outcome.TIME_OUT]
  # A person who is still busy at the time limit has corrected something.
  (demo,) = kept.demos
  assert len(demo.commands) == 40 and demo.outcome == Outcome.TIME_OUT


@pytest.mark.parametrize('whole, number', [(True, 1), (False, 2)])
def test_whole_episodes_are_kept_if_they_succeed(
  task, rollout, worlds, whole, number
):
  kept = recorder(task, whole=whole)
  goal = np.array([0.1, -0.1, 0.005], np.float32)
  commands = np.tile(np.asarray(worlds.qpos)[:, None], (1, _CHUNK, 1))
  share = np.linspace(0.1, 1.0, _CHUNK)[:, None]
  commands[0] += share * (goal - commands[0])
  after = rollout.chunk(worlds, commands)
  assert after.final.outcome.tolist() == [Outcome.SUCCESS, Outcome.RUNNING]
  kept.add(worlds, after, _BOTH)
  assert len(kept.finish(after.final)) == number
  demo = kept.demos[0]
  assert demo.outcome == Outcome.SUCCESS
  assert len(demo.commands) == int(after.final.steps[0])


def test_nothing_of_a_world_that_diverged_is_kept(task, rollout, worlds):
  kept = recorder(task)
  first = move(rollout, worlds, [1e-3, 1e-3])
  kept.add(worlds, first, _BOTH)
  second = move(rollout, first.final, [1e-3, 1e-3])
  qpos = second.final.qpos.at[0].set(np.nan)
  broken = second._replace(final=second.final.replace(qpos=qpos))
  kept.add(first.final, broken, _BOTH)
  (demo,) = kept.finish(second.final)
  assert len(demo.commands) == 20 and np.isfinite(demo.commands).all()
  np.testing.assert_allclose(demo.joints[0], worlds.qpos[1])
