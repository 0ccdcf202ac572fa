"""Which chunk drives, and when the next one starts."""

import numpy as np
import pytest

from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.policy.chunk_scheduler import ChunkScheduler
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.serving.schema import Reply
from tests.robot.conftest import make_spec

_DT = 0.02
_POSE = np.array([0.1, 0.2, 0.01])


class _Steps:
  """Control steps at 50 Hz of a scheduler whose chunks count from 100 on."""

  def __init__(self, **changes):
    self.spec = make_spec(**changes)
    self.since: list[int] = []  # steps between each used query and its chunk
    self.scheduler = ChunkScheduler(
      self.spec, self._make_chunk, open_loop_steps=2, starved_steps=3
    )
    self.now = 10.0
    self.scheduler.begin(self.now)

  def _make_chunk(self, query, reply, since):
    del query, reply
    self.since.append(since)
    first = 100.0 * len(self.since)
    chunk = first + np.arange(self.spec.chunk_size)
    return chunk[:, None].repeat(3, 1), CommandSource.ACTOR

  def answer(self, *, paced, age_s=0.0):
    """Gives the answer to a query of `age_s` ago."""
    time = self.now - age_s
    num_steps = self.scheduler.num_steps
    query = VlaQuery(None, time, time, _POSE, np.zeros(6), num_steps)
    empty = np.zeros((1, 3), np.float32)
    reply = Reply(empty, np.zeros(6, np.float32), empty)
    self.scheduler.on_reply(query, reply, paced=paced)

  def step(self, *, paced):
    """Returns the command of one control step, and counts it."""
    self.now += _DT
    command = self.scheduler.next(self.now, _POSE, paced=paced)
    if not isinstance(command, str) and command.source != CommandSource.WAIT:
      self.scheduler.step(self.now, paced=paced)
    return command


def test_a_paced_chunk_runs_whole_and_the_pose_is_held_until_the_next():
  steps = _Steps(frozen_action_dims=(1,))
  assert steps.step(paced=True) == 'A first chunk must come'
  steps.answer(paced=True)
  commands = [steps.step(paced=True) for _ in range(6)]
  assert [x.command[0] for x in commands[:4]] == [100, 101, 102, 103]
  for wait in commands[4:]:
    assert wait.source is CommandSource.WAIT
    # The measured pose, but of the frozen entry its last command.
    np.testing.assert_array_equal(wait.command, [0.1, 103, 0.01])
  steps.answer(paced=True)
  assert steps.step(paced=True).command[0] == 200


def test_an_observation_before_the_deciding_step_starts_no_chunk():
  steps = _Steps(inference_delay=2)
  steps.answer(paced=True)
  for _ in range(2):
    steps.step(paced=True)
  assert steps.scheduler.query_now  # two steps before the end
  steps.answer(paced=True, age_s=_DT)  # too old
  steps.answer(paced=True)
  steps.answer(paced=True)  # the first valid one counts
  for _ in range(2):
    steps.step(paced=True)
  assert steps.step(paced=True).command[0] == 200
  assert steps.since == [0, 2]


def test_an_unpaced_chunk_follows_the_newest_answer_without_a_wait():
  steps = _Steps()
  steps.answer(paced=False)
  found = []
  for _ in range(6):
    found.append(steps.step(paced=False))
    steps.answer(paced=False)
  assert all(x.source is CommandSource.ACTOR for x in found)
  # Every two open-loop steps; the first of a chunk was meant for before.
  assert [x.command[0] for x in found] == [101, 102, 201, 202, 301, 302]


@pytest.mark.parametrize('paced', [True, False])
def test_without_a_new_chunk_the_arm_is_to_hold(paced):
  steps = _Steps()
  steps.answer(paced=paced)
  found = [steps.step(paced=paced) for _ in range(10)]
  assert found[-1] == 'A new chunk must come'
  assert [isinstance(x, str) for x in found].index(True) in (6, 7)


def test_a_dropped_chunk_drives_no_more_and_old_answers_are_ignored():
  steps = _Steps()
  steps.answer(paced=True)
  steps.step(paced=True)
  steps.scheduler.clear(steps.now)
  steps.answer(paced=True, age_s=_DT)
  assert steps.step(paced=True) == 'A first chunk must come'


def test_a_reading_dated_after_its_step_has_begun_decides_no_later_chunk():
  steps = _Steps(inference_delay=2)
  steps.answer(paced=True)
  steps.step(paced=True)
  # Asked in the step before the deciding one ends, and dated after that.
  before = VlaQuery(None, steps.now + _DT + 0.001, 0.0, _POSE, np.zeros(6), 1)
  steps.step(paced=True)
  assert steps.scheduler.query_now
  steps.scheduler.on_reply(before, None, paced=True)
  steps.answer(paced=True)
  for _ in range(3):
    steps.step(paced=True)
  assert steps.since == [0, 2]
