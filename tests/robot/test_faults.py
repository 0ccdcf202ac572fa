"""What breaks in a cell: the arm holds, nothing recorded is lost, it goes on.

Faults of one part alone are tested beside it: a killed loop and its journal
(test_journal, test_episodes, test_watchdog), a clock that jumps (test_loop),
commands outside the limits (test_guard).
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
from rlt_jax.robot.recording import episodes
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from tests.robot.fakes import PERIOD, Rig


def at(rig, index, do):
  """Does something after the tick of this index."""

  def on_tick(tick):
    del tick
    if len(rig.ticks) == index:
      do()

  before = rig.on_tick
  rig.on_tick = lambda tick: (before(tick), on_tick(tick))


def check_recorded(rig, unseen=0):
  """Whatever was sent is in the journal, and was seen without a gap.

  unseen: steps at a part's end after which nothing could be seen.
  """
  parts = list(episodes.read(rig.folder))
  steps = [step for part in parts for step in part.steps]
  sent = rig.driven
  assert len(steps) == len(sent)
  for step, tick in zip(steps, sent, strict=True):
    np.testing.assert_array_equal(step.command, tick.executed)
  for part in parts:
    assert len(episodes.without_gap(part, 2)[0]) >= len(part.steps) - unseen
  return parts


def held(rig, words):
  """Returns the ticks in which the arm held for this reason."""
  return [i for i, x in enumerate(rig.ticks) if words in x.verdict]


def test_a_vla_that_dies_is_waited_for(tmp_path):
  rig = Rig(tmp_path)
  at(rig, 12, lambda: setattr(rig.vla, 'lost', 'nothing listens there'))
  at(rig, 60, lambda: setattr(rig.vla, 'lost', ''))
  attempt = rig.attempt()
  rest = held(rig, 'VLA lost: nothing listens there')
  assert 27 < rest[0] < 32 and 58 <= rest[-1] <= 62
  assert (attempt.outcome, attempt.steps) == ('time_limit', 40)
  assert [x.outcome for x in check_recorded(rig)] == ['hold', 'time_limit']
  assert attempt.gaps == 0
  assert 'hold' in [name for _, name in rig.arm.events[:-1]]


def test_a_vla_that_stays_away_costs_only_what_was_not_seen(tmp_path):
  rig = Rig(tmp_path)
  at(rig, 12, lambda: setattr(rig.vla, 'lost', 'nothing listens there'))
  at(rig, 60, lambda: rig.loop.stop('enough'))
  attempt = rig.attempt()
  assert attempt.outcome == 'hold' and attempt.gaps > 0
  (part,) = episodes.read(rig.folder)
  assert len(part.steps) == len(rig.driven)
  assert len(episodes.without_gap(part, 2)[0]) >= 8


def test_a_vla_that_is_300_ms_late_holds_the_arm_until_it_is_not(tmp_path):
  rig = Rig(tmp_path)
  at(rig, 16, lambda: setattr(rig.vla, 'delay', 0.3))
  at(rig, 90, lambda: setattr(rig.vla, 'delay', 0.01))
  attempt = rig.attempt()
  assert held(rig, 'A new chunk must come: VLA ready, but too slow')
  assert attempt.steps == 40
  check_recorded(rig)


def test_the_vlas_own_chunk_outlasts_300_ms(tmp_path):
  rig = Rig(tmp_path, open_loop_steps=10)
  rig.vla.delay = 0.3
  attempt = rig.attempt('base')
  assert attempt.steps == 40
  first = [x.source for x in rig.ticks].index('vla')
  assert {x.source for x in rig.ticks[first:-1]} == {'vla'}


def test_a_chunk_of_nan_moves_nothing(tmp_path):
  rig = Rig(tmp_path)
  words = 'reference must be finite.'
  at(rig, 12, lambda: setattr(rig.vla, 'spoiled', words))
  at(rig, 50, lambda: setattr(rig.vla, 'spoiled', ''))
  attempt = rig.attempt()
  assert held(rig, words) and attempt.steps == 40
  assert all(np.isfinite(x.wanted).all() for x in rig.sent)
  check_recorded(rig)


def test_an_actor_of_nan_moves_nothing(tmp_path):
  rig = Rig(tmp_path)

  def spoil():
    rig.pilot.policy._layers = [x * np.nan for x in rig.pilot.policy._layers]

  at(rig, 12, spoil)
  attempt = rig.attempt()
  assert held(rig, 'Command and reading must be finite')
  assert (
    rig.loop.stop_status.state is StopState.HOLD and attempt.outcome == 'hold'
  )
  check_recorded(rig)


@pytest.mark.parametrize(
  'kind, words',
  [
    ('frozen', 'wrist must show a new picture within 0.3 s'),
    ('stale', 'Camera pictures must be at most 0.1 s old'),
  ],
)
def test_a_camera_that_stands_still_holds_the_arm(tmp_path, kind, words):
  fault = CameraFault(camera='wrist', kind=kind, at_s=0.3, seconds=1.0)
  rig = Rig(tmp_path, camera_faults=[fault])
  attempt = rig.attempt()
  assert held(rig, words)
  assert attempt.steps == 40
  check_recorded(rig, unseen=2)


def test_a_camera_that_takes_no_trigger_holds_the_arm(tmp_path):
  rig = Rig(tmp_path)

  def fail():
    raise OSError('no such bus')

  at(rig, 12, lambda: setattr(rig.sight, '_trigger', fail))
  at(rig, 40, lambda: setattr(rig.sight, '_trigger', lambda: None))
  attempt = rig.attempt()
  assert held(rig, 'Cameras must take the trigger: no such bus')
  assert attempt.steps == 40


def test_lost_packets_cost_their_ticks(tmp_path):
  rig = Rig(tmp_path, faults=[Fault(kind='lost', at_s=0.4, calls=2)])
  attempt = rig.attempt()
  assert held(rig, 'was lost')
  assert attempt.steps == 40
  assert [x.outcome for x in check_recorded(rig)][-1] == 'time_limit'


def test_a_full_disk_holds_the_arm_and_keeps_every_row(tmp_path):
  full = False

  def write(fd, data):
    if full:
      raise OSError(errno.ENOSPC, 'No space left on device')
    return os.write(fd, data)

  rig = Rig(tmp_path, journal={'write': write})

  def fill(now):
    nonlocal full
    full = now

  at(rig, 20, lambda: fill(True))
  at(rig, 60, lambda: fill(False))
  attempt = rig.attempt()
  rest = held(rig, 'is full')
  assert 20 <= rest[0] <= 22 and 58 <= rest[-1] <= 62
  assert attempt.steps == 40
  check_recorded(rig)


def make_session(rig, folder, **changes):
  folder.mkdir(exist_ok=True)
  plan = {
    'minutes': 0.04,
    'num_base_episodes': 0,
    'num_final_episodes': 0,
  } | changes
  return RobotRun(
    rig.loop,
    rig.pilot,
    plan=RunPlan(**plan),
    folder=folder,
    control_hz=1.0 / PERIOD,
    clock=rig.clock,
    prepare=lambda mode, number: None,
    newest=lambda version: None,
  )


def test_a_disk_that_is_full_at_the_end_is_waited_for(tmp_path):
  room = [False]

  def write(fd, data):
    if not room[0] and len(rig.ticks) > 30:
      raise OSError(errno.ENOSPC, 'No space left on device')
    return os.write(fd, data)

  rig = Rig(tmp_path / 'journal', time_limit=30, journal={'write': write})
  rig.pilot._config = rig.pilot._config.__class__(
    time_limit=30,
    start_in_critical_phase=True,
    vla_warmup_steps=0,
    starved_steps=99,
  )
  session = make_session(rig, tmp_path, minutes=0.001)
  told = []

  def tell():
    told.append(session.view().words)
    room[0] = len(told) > 3

  session._tell = tell
  session.run()
  session.close()
  assert 'is full' in told[0]
  assert session.attempts[-1]['outcome'] == 'time_limit'
  check_recorded(rig)


def test_a_learner_that_is_killed_leaves_the_last_weights(tmp_path):
  rig = Rig(tmp_path / 'journal')
  session = make_session(rig, tmp_path)  # nobody publishes: no snapshot
  session.run()
  session.close()
  assert [x['outcome'] for x in session.attempts] == ['time_limit'] * 3
  assert session.robot_minutes == pytest.approx(0.04)
  assert len((tmp_path / 'attempts.jsonl').read_text().splitlines()) == 3
  check_recorded(rig)


def test_ctrl_c_holds_and_writes_everything(tmp_path):
  rig = Rig(tmp_path / 'journal')
  session = make_session(rig, tmp_path)

  def interrupt():
    raise KeyboardInterrupt

  at(rig, 25, interrupt)
  with pytest.raises(KeyboardInterrupt):
    session.run()
  session.close()
  assert rig.arm.events[-1][1] == 'hold'
  assert session.attempts[-1]['outcome'] == 'hold'
  assert [x.end for x in check_recorded(rig)] == ['cut']


def test_an_asked_stop_ends_after_the_tick(tmp_path):
  rig = Rig(tmp_path / 'journal')
  session = make_session(rig, tmp_path, num_final_episodes=5)
  at(rig, 25, lambda: setattr(session, 'stop', True))
  session.run()
  session.close()
  assert len(rig.ticks) == 25 and len(session.attempts) == 1
  assert session.attempts[0]['cause'] == 'the run was stopped'
  check_recorded(rig)


def test_a_lost_link_goes_on_once_the_arm_answers(tmp_path):
  fault = Fault(kind='lost', at_s=0.4, calls=20)
  rig = Rig(tmp_path / 'journal', faults=[fault])
  session = make_session(rig, tmp_path, resume_after_s=0.2)
  session.run()
  session.close()
  outcomes = [x['outcome'] for x in session.attempts]
  assert outcomes == ['hold', 'time_limit', 'time_limit', 'time_limit']
  assert 'was lost' in session.attempts[0]['cause']
  check_recorded(rig)


def test_an_operator_who_is_lost_stops_the_arm(tmp_path):
  rig = Rig(tmp_path / 'journal')

  class Gone:
    name = 'terminal'

    def poll(self):
      if len(rig.ticks) > 20:
        raise DeviceError('The terminal is gone: hung up.')
      return []

  rig.pilot._device = Gone()
  session = make_session(rig, tmp_path)
  session.run()
  session.close()
  assert (
    rig.loop.stop_status.latched
    and rig.loop.stop_status.state is StopState.HOLD
  )
  assert 'The terminal is gone' in session.attempts[0]['cause']
  assert len(session.attempts) == 1
  rig.loop.post(StopEvent(StopEventKind.RESUME))
  assert rig.loop.step().verdict  # latched: it does not run again
  check_recorded(rig)
