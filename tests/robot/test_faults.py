"""Faults of a part: the arm holds, no record is lost, the run continues.

Faults that concern one module are tested with it: a killed loop and its
journal (test_journal, test_episodes, test_watchdog), a clock that jumps
(test_loop), commands outside the limits (test_safety_limits).
"""

import errno
import os

import numpy as np
import pytest

from rlt_jax.robot.arms.faults import CameraFault, Fault
from rlt_jax.robot.control.stop_states import (
  StopEvent,
  StopEventKind,
  StopState,
)
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.recording import episodes
from tests.robot.fakes import FakeRobot


def at(robot, index, do):
  """Does something after the step of this index."""

  def on_step(step):
    del step
    if len(robot.steps) == index:
      do()

  before = robot.on_step
  robot.on_step = lambda step: (before(step), on_step(step))


def check_recorded(robot, unseen=0):
  """Whatever was sent is in the journal, and was seen without a gap.

  unseen: steps at a recording's end after which nothing could be seen.
  """
  found = list(episodes.read(robot.folder))
  recordings = [recording for x in found for recording in x.recordings]
  steps = [step for recording in recordings for step in recording.steps]
  sent = robot.driven
  assert len(steps) == len(sent)
  for row, step in zip(steps, sent, strict=True):
    np.testing.assert_array_equal(row.command, step.executed)
  for episode in found:
    assert learnable(episode) >= (
      episode.num_steps - unseen * len(episode.recordings)
    )
  return found


def learnable(episode):
  parts = episodes.learnable_parts(episode, 2)
  return sum(len(part.steps) for part in parts)


def held(robot, words):
  """Returns the steps in which the arm held for this reason."""
  return [i for i, x in enumerate(robot.steps) if words in x.verdict]


def test_a_vla_that_dies_is_waited_for(tmp_path):
  robot = FakeRobot(tmp_path)
  at(robot, 12, lambda: setattr(robot.vla, 'lost', 'nothing listens there'))
  at(robot, 60, lambda: setattr(robot.vla, 'lost', ''))
  result = robot.episode()
  rest = held(robot, 'VLA lost: nothing listens there')
  assert 27 < rest[0] < 32 and 58 <= rest[-1] <= 62
  assert (result.outcome, result.steps) == ('time_out', 40)
  (episode,) = check_recorded(robot)
  assert episode.outcome == 'time_out' and len(episode.recordings) == 2
  assert result.missing_queries == 0
  assert 'hold' in [name for _, name in robot.arm.events[:-1]]


def test_a_vla_that_stays_away_costs_only_what_was_not_seen(tmp_path):
  robot = FakeRobot(tmp_path)
  at(robot, 12, lambda: setattr(robot.vla, 'lost', 'nothing listens there'))
  at(robot, 60, lambda: robot.loop.stop('enough'))
  result = robot.episode()
  assert result.outcome == 'hold' and result.missing_queries > 0
  (episode,) = episodes.read(robot.folder)
  assert episode.num_steps == len(robot.driven)
  assert learnable(episode) >= 8


def test_a_vla_that_is_300_ms_late_holds_the_arm_until_it_is_not(tmp_path):
  robot = FakeRobot(tmp_path)
  at(robot, 16, lambda: setattr(robot.vla, 'delay', 0.3))
  at(robot, 90, lambda: setattr(robot.vla, 'delay', 0.01))
  result = robot.episode()
  assert held(robot, 'A new chunk must come: VLA ready, but too slow')
  assert result.steps == 40
  check_recorded(robot)


def test_the_vlas_own_chunk_outlasts_300_ms(tmp_path):
  robot = FakeRobot(tmp_path, open_loop_steps=10)
  robot.vla.delay = 0.3
  result = robot.episode('base')
  assert result.steps == 40
  first = [x.source for x in robot.steps].index('vla')
  assert {x.source for x in robot.steps[first:-1]} == {'vla'}


def test_a_chunk_of_nan_moves_nothing(tmp_path):
  robot = FakeRobot(tmp_path)
  words = 'reference must be finite.'
  at(robot, 12, lambda: setattr(robot.vla, 'spoiled', words))
  at(robot, 50, lambda: setattr(robot.vla, 'spoiled', ''))
  result = robot.episode()
  assert held(robot, words) and result.steps == 40
  assert all(np.isfinite(x.wanted).all() for x in robot.sent)
  check_recorded(robot)


def test_an_actor_of_nan_moves_nothing(tmp_path):
  robot = FakeRobot(tmp_path)

  def spoil():
    robot.controller.chunk_policy.policy._layers = [
      x * np.nan for x in robot.controller.chunk_policy.policy._layers
    ]

  at(robot, 12, spoil)
  result = robot.episode()
  assert held(robot, 'Command and reading must be finite')
  assert (
    robot.loop.stop_status.state is StopState.HOLD and result.outcome == 'hold'
  )
  check_recorded(robot)


@pytest.mark.parametrize(
  'kind, words',
  [
    ('frozen', 'wrist must show a new picture within 0.3 s'),
    ('stale', 'Camera pictures must be at most 0.1 s old'),
  ],
)
def test_a_camera_that_stands_still_holds_the_arm(tmp_path, kind, words):
  fault = CameraFault(camera='wrist', kind=kind, at_s=0.3, seconds=1.0)
  robot = FakeRobot(tmp_path, camera_faults=[fault])
  result = robot.episode()
  assert held(robot, words)
  assert result.steps == 40
  check_recorded(robot, unseen=2)


def test_a_camera_that_takes_no_trigger_holds_the_arm(tmp_path):
  robot = FakeRobot(tmp_path)

  def fail():
    raise OSError('no such bus')

  at(robot, 12, lambda: setattr(robot.vla_queries._cameras, 'trigger', fail))
  at(robot, 40, lambda: delattr(robot.vla_queries._cameras, 'trigger'))
  result = robot.episode()
  assert held(robot, 'Cameras must take the trigger: no such bus')
  assert result.steps == 40


def test_lost_packets_cost_their_steps(tmp_path):
  robot = FakeRobot(tmp_path, faults=[Fault(kind='lost', at_s=0.4, calls=2)])
  result = robot.episode()
  assert held(robot, 'was lost')
  assert result.steps == 40
  # The pose after the last step before the lost packet was never read.
  assert [x.outcome for x in check_recorded(robot, 2)][-1] == 'time_out'


def test_a_full_disk_holds_the_arm_and_keeps_every_row(tmp_path):
  full = False

  def write(fd, data):
    if full:
      raise OSError(errno.ENOSPC, 'No space left on device')
    return os.write(fd, data)

  robot = FakeRobot(tmp_path, journal={'write': write})

  def fill(now):
    nonlocal full
    full = now

  at(robot, 20, lambda: fill(True))
  at(robot, 60, lambda: fill(False))
  result = robot.episode()
  rest = held(robot, 'is full')
  assert 20 <= rest[0] <= 22 and 58 <= rest[-1] <= 62
  assert result.steps == 40
  check_recorded(robot)


def test_a_disk_that_is_full_at_the_end_is_waited_for(tmp_path):
  room = [False]

  def write(fd, data):
    if not room[0] and len(robot.steps) > 30:
      raise OSError(errno.ENOSPC, 'No space left on device')
    return os.write(fd, data)

  robot = FakeRobot(
    tmp_path / 'journal',
    time_limit=30,
    starved_steps=99,
    journal={'write': write},
  )
  messages = []

  def notify():
    messages.append(run.view().message)
    room[0] = len(messages) > 3

  run = robot.schedule(tmp_path, minutes=0.001, notify=notify)
  run.run()
  run.results.close()
  assert 'is full' in messages[0]
  assert run.results.episodes[-1]['outcome'] == 'time_out'
  check_recorded(robot)


def test_a_learner_that_is_killed_leaves_the_last_weights(tmp_path):
  robot = FakeRobot(tmp_path / 'journal')
  run = robot.schedule(tmp_path)  # nobody publishes: no snapshot
  run.run()
  run.results.close()
  assert [x['outcome'] for x in run.results.episodes] == ['time_out'] * 3
  assert run.robot_minutes == pytest.approx(0.04)
  assert len((tmp_path / 'episodes.jsonl').read_text().splitlines()) == 3
  check_recorded(robot)


def test_ctrl_c_holds_and_writes_everything(tmp_path):
  robot = FakeRobot(tmp_path / 'journal')
  run = robot.schedule(tmp_path)

  def interrupt():
    raise KeyboardInterrupt

  at(robot, 25, interrupt)
  with pytest.raises(KeyboardInterrupt):
    run.run()
  run.results.close()
  assert robot.arm.events[-1][1] == 'hold'
  assert run.results.episodes[-1]['outcome'] == 'hold'
  assert [x.end for x in check_recorded(robot)] == ['cut']


def test_a_run_that_is_asked_to_stop_ends_after_the_step(tmp_path):
  robot = FakeRobot(tmp_path / 'journal')
  run = robot.schedule(tmp_path, num_final_episodes=5)
  at(robot, 25, lambda: setattr(run, 'stop', True))
  run.run()
  run.results.close()
  assert len(robot.steps) == 25 and len(run.results.episodes) == 1
  assert run.results.episodes[0]['cause'] == 'the run was stopped'
  check_recorded(robot)


def test_a_lost_link_goes_on_once_the_arm_answers(tmp_path):
  fault = Fault(kind='lost', at_s=0.4, calls=20)
  robot = FakeRobot(tmp_path / 'journal', faults=[fault])
  run = robot.schedule(tmp_path, resume_after_s=0.2)
  run.run()
  run.results.close()
  outcomes = [x['outcome'] for x in run.results.episodes]
  assert outcomes == ['hold', 'time_out', 'time_out', 'time_out']
  assert 'was lost' in run.results.episodes[0]['cause']
  check_recorded(robot, unseen=2)


def test_an_operator_who_is_lost_stops_the_arm(tmp_path):
  class Gone(Scripted):
    def poll(self):
      if len(robot.steps) > 20:
        raise DeviceError('The terminal is gone: hung up.')
      return []

  robot = FakeRobot(
    tmp_path / 'journal', device=lambda clock: Gone([], clock=clock)
  )
  run = robot.schedule(tmp_path)
  run.run()
  run.results.close()
  assert robot.loop.stop_status.latched
  assert robot.loop.stop_status.state is StopState.HOLD
  assert 'The terminal is gone' in run.results.episodes[0]['cause']
  assert len(run.results.episodes) == 1
  robot.loop.post(StopEvent(StopEventKind.RESUME))
  assert robot.loop.step().verdict  # latched: it does not run again
  check_recorded(robot)
