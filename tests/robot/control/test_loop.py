import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.control.loop import Loop, LoopConfig
from rlt_jax.robot.control.safety_limits import Limit
from rlt_jax.robot.control.stop_states import (
  StopConfig,
  StopEvent,
  StopEventKind,
  StopState,
)
from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer
from tests.robot.fake_arm import Clock, StandIn

_DT = 0.02
_CONFIG = LoopConfig(hold_steps=4, fault_steps=3)


class Driver:
  """Drives to a target; may think long, fall silent or do anything else."""

  def __init__(self, clock):
    self.clock, self.target = clock, np.array([0.005, 0.0, 0.0, 0.001])
    self.think_s, self.age_s, self.cleared = 0.0, 0.0, 0
    self.also = lambda: None

  def __call__(self, reading, now):
    self.clock.time += self.think_s
    self.also()
    if isinstance(self.target, str | StopEvent):
      return self.target
    return Command(self.target, now - self.age_s, CommandSource.ACTOR)

  def clear(self):
    self.cleared += 1


class ChunkDriver:
  """Drives through a buffer of chunks."""

  def __init__(self, buffer):
    self.buffer = buffer

  def __call__(self, reading, now):
    action = self.buffer.next(now)
    if action is None:
      return 'there is no first chunk yet'
    return Command(action.command, action.made, CommandSource.VLA)

  def clear(self):
    self.buffer.clear()


class Heartbeat:
  def __init__(self):
    self.said, self.fired = [], False

  def beat(self):
    if self.fired:
      raise ArmError('the watchdog has ended')
    self.said.append('beat')

  def rest(self):
    self.said.append('rest')


class TaskSetup:
  def __init__(self, **changes):
    self.clock = Clock()
    self.arm = StandIn(self.clock)
    self.driver = Driver(self.clock)
    self.steps = []
    changes = {'config': _CONFIG, 'on_step': self.steps.append} | changes
    self.loop = Loop(self.arm, self.driver, self.clock, **changes)

  def run(self, num):
    return [self.loop.step() for _ in range(num)]


@pytest.fixture
def cell():
  return TaskSetup()


def test_a_step_says_what_was_wanted_sent_and_measured(cell):
  cell.driver.target = np.array([0.015, 0.0, 0.0, 0.001])
  cell.driver.age_s, cell.driver.think_s, cell.arm.io_s = 0.1, 0.003, 0.001
  cell.clock.late = 0.002
  cell.run(1)
  step = cell.run(1)[0]
  assert step is cell.steps[1] and step.verdict == ''
  assert step.late_s == pytest.approx(0.002)
  assert step.io_s == pytest.approx(0.002)
  assert step.inference_age_s == pytest.approx(0.103)
  assert step.source == 'actor'
  # 0.5 rad/s is 0.01 rad a step.
  np.testing.assert_array_equal(step.measured, [0.01, 0.0, 0.0, 0.001])
  np.testing.assert_array_equal(step.wanted, [0.015, 0.0, 0.0, 0.001])
  np.testing.assert_array_equal(step.executed, [0.015, 0.0, 0.0, 0.001])
  assert cell.steps[0].changed[0] & Limit.VELOCITY and not step.changed.any()


def test_what_the_arm_really_sent_is_what_is_recorded(cell):
  cell.arm.command = lambda target: np.round(target, 2)
  assert cell.run(1)[0].executed[3] == 0.0


def test_deadlines_do_not_drift(cell):
  cell.arm.io_s = 0.0041
  cell.run(200)
  times = np.array([step.time for step in cell.steps])
  np.testing.assert_allclose(times - times[0], _DT * np.arange(200), atol=1e-9)
  assert cell.loop.record.overruns == 0


def test_a_missed_deadline_is_counted_and_left_out(cell):
  cell.run(2)
  cell.driver.think_s = 0.045  # from 0.04 to 0.085: 0.06 and 0.08 are missed
  cell.run(1)
  cell.driver.think_s = 0.0
  cell.run(2)
  times = np.array([step.time for step in cell.steps]) - cell.steps[0].time
  np.testing.assert_allclose(times, [0.0, 0.02, 0.04, 0.1, 0.12], atol=1e-9)
  assert cell.loop.record.overruns == 2
  assert cell.steps[3].late_s == pytest.approx(0.0, abs=1e-9)


def test_every_deadline_is_a_step_or_an_overrun(cell):
  rng = np.random.default_rng(0)
  start = cell.clock.time
  for _ in range(300):
    cell.driver.think_s = rng.exponential(0.01)
    cell.clock.late = rng.exponential(0.003)
    cell.loop.step()
  last = round((cell.steps[-1].time - cell.steps[-1].late_s - start) / _DT)
  assert cell.loop.record.steps + cell.loop.record.overruns == last + 1


def test_time_before_an_episode_is_not_missed(cell):
  cell.clock.time += 30.0
  cell.run(2)
  assert cell.loop.record.overruns == 0


def test_a_clock_that_goes_back_does_not_make_the_loop_wait_for_it(cell):
  cell.run(3)
  cell.clock.time -= 50.0
  cell.run(2)
  assert cell.clock.time < 51.0 and cell.loop.record.jumps == 1
  assert cell.steps[-1].time - cell.steps[-2].time == pytest.approx(_DT)


def test_a_clock_that_leaps_forward_is_overruns_not_a_burst(cell):
  cell.run(2)
  cell.clock.time += 10.0
  cell.run(2)
  assert cell.loop.record.overruns == pytest.approx(500, abs=1)
  assert len(cell.arm.sent) == 4


def test_without_a_command_the_arm_holds_once(cell):
  cell.run(1)
  cell.driver.target = 'a first chunk must come'
  steps = cell.run(10)
  assert cell.arm.calls == ['command', 'hold']
  assert np.isnan(steps[0].executed).all() and steps[0].source == 'none'
  assert steps[-1].verdict == 'a first chunk must come'
  assert cell.loop.stop_status.state is StopState.RUN
  cell.driver.target = np.zeros(4)
  assert cell.run(1)[0].verdict == ''


@pytest.mark.parametrize(
  'spoil, message',
  [
    (lambda d: setattr(d, 'age_s', 0.6), 'action must be 0 to 0.5 s old'),
    (lambda d: setattr(d, 'target', np.full(4, np.nan)), 'must be finite'),
  ],
)
def test_what_the_guard_refuses_holds_and_goes_on(cell, spoil, message):
  cell.run(1)
  kept = dict(vars(cell.driver))
  spoil(cell.driver)
  step = cell.run(3)[-1]
  assert message in step.verdict and np.isnan(step.executed).all()
  assert step.source == 'actor' and cell.arm.calls[-2:] == ['command', 'hold']
  vars(cell.driver).update(kept)
  assert cell.run(1)[0].verdict == ''
  assert cell.loop.record.not_sent == 3


def test_what_the_guard_refuses_too_often_waits_for_a_person(cell):
  cell.driver.age_s = 0.6
  assert 'action must be' in cell.run(4)[-1].verdict
  assert (
    cell.loop.stop_status.state is StopState.HOLD and cell.loop.stop_status.done
  )
  cell.driver.age_s = 0.0
  assert cell.run(1)[0].verdict.startswith('hold: The action must be')
  cell.loop.post(StopEvent(StopEventKind.RESUME))
  assert cell.run(1)[0].verdict == ''


def test_after_a_hold_velocity_counts_from_the_measured_pose(cell):
  cell.run(1)
  cell.driver.target = 'wait'
  cell.run(1)
  cell.arm.position = np.array([0.2, 0.0, 0.0, 0.01])  # moved by hand
  cell.driver.target = np.array([1.0, 0.0, 0.0, 0.01])
  np.testing.assert_allclose(cell.run(1)[0].executed[0], 0.21)


@pytest.mark.parametrize('method', ['observe', 'command'])
def test_a_lost_packet_costs_a_step(cell, method):
  cell.run(1)
  cell.arm.faults[method] = 2
  steps = cell.run(3)
  assert [t.verdict for t in steps] == [f'{method}: no answer'] * 2 + ['']
  assert np.isnan(steps[1].executed).all()
  assert cell.loop.stop_status.state is StopState.RUN


@pytest.mark.parametrize('method', ['observe', 'command'])
def test_a_lost_link_holds_until_a_person_resumes(cell, method):
  cell.run(1)
  cell.arm.faults[method] = 4
  cell.run(3)
  assert (
    cell.loop.stop_status.state is StopState.HOLD
    and cell.arm.calls[-1] == 'hold'
  )
  cell.run(5)
  assert cell.steps[-1].verdict == f'hold: {method}: no answer'
  assert cell.arm.calls.count('hold') == 1
  cell.arm.faults.clear()
  cell.loop.post(StopEvent(StopEventKind.RESUME))
  assert cell.run(1)[0].verdict == ''


def test_a_hold_that_fails_is_tried_again(cell):
  cell.arm.faults = {'hold': 2}
  cell.loop.stop('key')
  steps = cell.run(3)
  assert cell.arm.calls == ['hold'] * 3
  assert 'hold failed 2 times: hold: no answer' in steps[1].verdict
  assert cell.loop.stop_status.done


def test_a_stop_empties_the_queue_and_latches():
  clock = Clock()
  arm, queue = StandIn(clock), ActionChunkBuffer(4, _DT)
  loop = Loop(arm, ChunkDriver(queue), clock)
  loop.step()
  queue.put(np.zeros((5, 4)), clock.time)
  assert loop.step().verdict == ''
  loop.stop('key')
  assert loop.step().verdict == 'hold, latched: key'
  assert queue.next(clock.time) is None
  loop.post(StopEvent(StopEventKind.RESUME))
  queue.put(np.zeros((5, 4)), clock.time)
  assert loop.step().verdict == 'hold, latched: key'
  loop.post(StopEvent(StopEventKind.CLEAR))
  loop.post(StopEvent(StopEventKind.RESUME))
  assert 'first chunk' in loop.step().verdict  # what came in between is gone
  assert arm.calls == ['hold', 'command', 'hold', 'hold']


def test_a_stop_while_the_driver_thinks_sends_nothing(cell):
  cell.run(1)
  cell.driver.also = cell.loop.stop
  step = cell.run(1)[0]
  assert cell.arm.calls == ['command', 'hold']
  assert step.verdict == 'hold, latched: software stop'
  assert np.isfinite(step.wanted).all() and np.isnan(step.executed).all()


def test_disable_goes_through_every_stop_state(cell):
  cell.run(1)
  cell.loop.post(StopEvent(StopEventKind.DISABLE))
  cell.run(8)
  expected = ['command', 'hold', 'stow', 'stow', 'stow', 'disable']
  assert cell.arm.calls == expected
  assert cell.steps[-1].verdict == 'disable: asked to disable'


def test_the_watchdog_hears_every_step_and_the_end():
  heartbeat = Heartbeat()
  cell = TaskSetup(heartbeat=heartbeat)
  cell.loop.run(lambda step: len(cell.steps) == 3)
  assert heartbeat.said == ['beat'] * 7 + ['rest']


def test_a_watchdog_that_fired_while_the_driver_slept_is_believed():
  heartbeat = Heartbeat()
  cell = TaskSetup(heartbeat=heartbeat)
  cell.run(1)
  cell.driver.also = lambda: setattr(heartbeat, 'fired', True)
  assert cell.run(1)[0].verdict == 'hold: the watchdog has ended'
  assert cell.arm.calls == ['command', 'hold']
  cell.loop.post(StopEvent(StopEventKind.RESUME))
  assert cell.run(1)[0].verdict == 'hold: the watchdog has ended'
  assert cell.arm.calls.count('command') == 1


def test_an_episode_ends_with_hold_and_its_record(cell):
  record = cell.loop.run(lambda step: len(cell.steps) == 5)
  assert record.to_dict()['steps'] == 5 and record is cell.loop.record
  assert cell.arm.calls == ['command'] * 5 + ['hold']
  assert cell.loop.run(lambda step: True).to_dict()['steps'] == 1


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError('disk full')])
def test_whatever_ends_an_episode_the_arm_holds_first(cell, error):
  def fail():
    if len(cell.steps) == 2:
      raise error

  cell.driver.also, cell.arm.faults = fail, {'hold': 1}
  with pytest.raises((KeyboardInterrupt, OSError)):
    cell.loop.run(lambda step: False)
  assert cell.arm.calls == ['command'] * 2 + ['hold'] * 2
  assert cell.loop.record.steps == 2


@pytest.mark.parametrize(
  'kind, calls',
  [
    (StopEventKind.STOP, ['hold']),
    (StopEventKind.STOW, ['hold', 'stow', 'stow', 'stow']),
  ],
)
def test_a_driver_may_return_a_stop_event(cell, kind, calls):
  cell.run(1)
  cell.driver.target = StopEvent(kind, 'the operator asked')
  cell.run(8)
  assert cell.arm.calls == ['command', *calls]
  assert 'the operator asked' in cell.steps[-1].verdict


def test_a_step_without_driving_asks_nobody_and_holds(cell):
  cell.driver.also = lambda: pytest.fail('the driver was asked')
  for _ in range(3):
    step = cell.loop.step(drive=False)
  assert cell.arm.calls == ['hold'] and 'between two episodes' in step.verdict
  cell.loop.stop('key')
  assert cell.loop.step(drive=False).verdict == 'hold, latched: key'


def test_the_loop_stows_by_itself_after_a_hold():
  config = LoopConfig(fault_steps=1, stop=StopConfig(stow_after_hold_s=0.2))
  cell = TaskSetup(config=config)
  cell.arm.faults = {'observe': 1}
  cell.run(9)
  assert cell.arm.calls == ['hold']
  cell.run(8)
  assert cell.arm.calls == ['hold', 'stow', 'stow', 'stow']
  assert cell.steps[-1].verdict.startswith('stow: 0.2 s in hold')
