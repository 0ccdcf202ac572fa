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
from tests.robot.fake_arm import Clock, RecordingArm

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
    return Command(action.command, action.obs_time, CommandSource.VLA)

  def clear(self):
    self.buffer.clear()


class Heartbeat:
  def __init__(self):
    self.messages, self.fired = [], False

  def beat(self):
    if self.fired:
      raise ArmError('the watchdog has ended')
    self.messages.append('beat')

  def rest(self):
    self.messages.append('rest')


class FakeLoop:
  def __init__(self, **changes):
    self.clock = Clock()
    self.arm = RecordingArm(self.clock)
    self.driver = Driver(self.clock)
    self.steps = []
    changes = {'config': _CONFIG, 'on_step': self.steps.append} | changes
    self.loop = Loop(self.arm, self.driver, self.clock, **changes)

  def run(self, num):
    return [self.loop.step() for _ in range(num)]


@pytest.fixture
def setup():
  return FakeLoop()


def test_a_step_records_what_was_wanted_sent_and_measured(setup):
  setup.driver.target = np.array([0.015, 0.0, 0.0, 0.001])
  setup.driver.age_s, setup.driver.think_s, setup.arm.io_s = 0.1, 0.003, 0.001
  setup.clock.late = 0.002
  setup.run(1)
  step = setup.run(1)[0]
  assert step is setup.steps[1] and step.verdict == ''
  assert step.late_s == pytest.approx(0.002)
  assert step.io_s == pytest.approx(0.002)
  assert step.inference_age_s == pytest.approx(0.103)
  assert step.source == 'actor'
  # 0.5 rad/s is 0.01 rad a step.
  np.testing.assert_array_equal(step.measured, [0.01, 0.0, 0.0, 0.001])
  np.testing.assert_array_equal(step.wanted, [0.015, 0.0, 0.0, 0.001])
  np.testing.assert_array_equal(step.executed, [0.015, 0.0, 0.0, 0.001])
  assert setup.steps[0].changed[0] & Limit.VELOCITY and not step.changed.any()


def test_the_command_that_the_arm_sent_is_recorded(setup):
  setup.arm.command = lambda target: np.round(target, 2)
  assert setup.run(1)[0].executed[3] == 0.0


def test_deadlines_do_not_drift(setup):
  setup.arm.io_s = 0.0041
  setup.run(200)
  times = np.array([step.time for step in setup.steps])
  np.testing.assert_allclose(times - times[0], _DT * np.arange(200), atol=1e-9)
  assert setup.loop.record.overruns == 0


def test_a_missed_deadline_is_counted_and_left_out(setup):
  setup.run(2)
  setup.driver.think_s = 0.045  # from 0.04 to 0.085: 0.06 and 0.08 are missed
  setup.run(1)
  setup.driver.think_s = 0.0
  setup.run(2)
  times = np.array([step.time for step in setup.steps]) - setup.steps[0].time
  np.testing.assert_allclose(times, [0.0, 0.02, 0.04, 0.1, 0.12], atol=1e-9)
  assert setup.loop.record.overruns == 2
  assert setup.steps[3].late_s == pytest.approx(0.0, abs=1e-9)


def test_every_deadline_is_a_step_or_an_overrun(setup):
  rng = np.random.default_rng(0)
  start = setup.clock.time
  for _ in range(300):
    setup.driver.think_s = rng.exponential(0.01)
    setup.clock.late = rng.exponential(0.003)
    setup.loop.step()
  last = round((setup.steps[-1].time - setup.steps[-1].late_s - start) / _DT)
  assert setup.loop.record.steps + setup.loop.record.overruns == last + 1


def test_time_before_an_episode_is_not_missed(setup):
  setup.clock.time += 30.0
  setup.run(2)
  assert setup.loop.record.overruns == 0


def test_a_clock_that_goes_back_does_not_make_the_loop_wait_for_it(setup):
  setup.run(3)
  setup.clock.time -= 50.0
  setup.run(2)
  assert setup.clock.time < 51.0 and setup.loop.record.jumps == 1
  assert setup.steps[-1].time - setup.steps[-2].time == pytest.approx(_DT)


def test_a_clock_that_leaps_forward_is_overruns_not_a_burst(setup):
  setup.run(2)
  setup.clock.time += 10.0
  setup.run(2)
  assert setup.loop.record.overruns == pytest.approx(500, abs=1)
  assert len(setup.arm.sent) == 4


def test_without_a_command_the_arm_holds_once(setup):
  setup.run(1)
  setup.driver.target = 'a first chunk must come'
  steps = setup.run(10)
  assert setup.arm.calls == ['command', 'hold']
  assert np.isnan(steps[0].executed).all() and steps[0].source == 'none'
  assert steps[-1].verdict == 'a first chunk must come'
  assert setup.loop.stop_status.state is StopState.RUN
  setup.driver.target = np.zeros(4)
  assert setup.run(1)[0].verdict == ''


@pytest.mark.parametrize(
  'spoil, message',
  [
    (lambda d: setattr(d, 'age_s', 0.6), 'action must be 0 to 0.5 s old'),
    (lambda d: setattr(d, 'target', np.full(4, np.nan)), 'must be finite'),
  ],
)
def test_a_refused_command_holds_the_arm_once(setup, spoil, message):
  setup.run(1)
  kept = dict(vars(setup.driver))
  spoil(setup.driver)
  step = setup.run(3)[-1]
  assert message in step.verdict and np.isnan(step.executed).all()
  assert step.source == 'actor' and setup.arm.calls[-2:] == ['command', 'hold']
  vars(setup.driver).update(kept)
  assert setup.run(1)[0].verdict == ''
  assert setup.loop.record.not_sent == 3


def test_too_many_refused_commands_stop_the_arm(setup):
  setup.driver.age_s = 0.6
  assert 'action must be' in setup.run(4)[-1].verdict
  assert (
    setup.loop.stop_status.state is StopState.HOLD
    and setup.loop.stop_status.done
  )
  setup.driver.age_s = 0.0
  assert setup.run(1)[0].verdict.startswith('hold: The action must be')
  setup.loop.post(StopEvent(StopEventKind.RESUME))
  assert setup.run(1)[0].verdict == ''


def test_after_a_hold_velocity_counts_from_the_measured_pose(setup):
  setup.run(1)
  setup.driver.target = 'wait'
  setup.run(1)
  setup.arm.position = np.array([0.2, 0.0, 0.0, 0.01])  # moved by hand
  setup.driver.target = np.array([1.0, 0.0, 0.0, 0.01])
  np.testing.assert_allclose(setup.run(1)[0].executed[0], 0.21)


@pytest.mark.parametrize('method', ['observe', 'command'])
def test_a_lost_packet_costs_a_step(setup, method):
  setup.run(1)
  setup.arm.faults[method] = 2
  steps = setup.run(3)
  assert [t.verdict for t in steps] == [f'{method}: no answer'] * 2 + ['']
  assert np.isnan(steps[1].executed).all()
  assert setup.loop.stop_status.state is StopState.RUN


@pytest.mark.parametrize('method', ['observe', 'command'])
def test_a_lost_link_holds_until_a_person_resumes(setup, method):
  setup.run(1)
  setup.arm.faults[method] = 4
  setup.run(3)
  assert (
    setup.loop.stop_status.state is StopState.HOLD
    and setup.arm.calls[-1] == 'hold'
  )
  setup.run(5)
  assert setup.steps[-1].verdict == f'hold: {method}: no answer'
  assert setup.arm.calls.count('hold') == 1
  setup.arm.faults.clear()
  setup.loop.post(StopEvent(StopEventKind.RESUME))
  assert setup.run(1)[0].verdict == ''


def test_a_hold_that_fails_is_tried_again(setup):
  setup.arm.faults = {'hold': 2}
  setup.loop.stop('key')
  steps = setup.run(3)
  assert setup.arm.calls == ['hold'] * 3
  assert 'hold failed 2 times: hold: no answer' in steps[1].verdict
  assert setup.loop.stop_status.done


def test_a_stop_empties_the_queue_and_latches():
  clock = Clock()
  arm, queue = RecordingArm(clock), ActionChunkBuffer(4, _DT)
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


def test_a_stop_while_the_driver_thinks_sends_nothing(setup):
  setup.run(1)
  setup.driver.also = setup.loop.stop
  step = setup.run(1)[0]
  assert setup.arm.calls == ['command', 'hold']
  assert step.verdict == 'hold, latched: software stop'
  assert np.isfinite(step.wanted).all() and np.isnan(step.executed).all()


def test_disable_goes_through_every_stop_state(setup):
  setup.run(1)
  setup.loop.post(StopEvent(StopEventKind.DISABLE))
  setup.run(8)
  expected = ['command', 'hold', 'stow', 'stow', 'stow', 'disable']
  assert setup.arm.calls == expected
  assert setup.steps[-1].verdict == 'disable: asked to disable'


def test_the_watchdog_hears_every_step_and_the_end():
  heartbeat = Heartbeat()
  setup = FakeLoop(heartbeat=heartbeat)
  setup.loop.run(lambda step: len(setup.steps) == 3)
  assert heartbeat.messages == ['beat'] * 7 + ['rest']


def test_a_watchdog_that_fired_while_the_driver_slept_is_believed():
  heartbeat = Heartbeat()
  setup = FakeLoop(heartbeat=heartbeat)
  setup.run(1)
  setup.driver.also = lambda: setattr(heartbeat, 'fired', True)
  assert setup.run(1)[0].verdict == 'hold: the watchdog has ended'
  assert setup.arm.calls == ['command', 'hold']
  setup.loop.post(StopEvent(StopEventKind.RESUME))
  assert setup.run(1)[0].verdict == 'hold: the watchdog has ended'
  assert setup.arm.calls.count('command') == 1


def test_an_episode_ends_with_hold_and_its_record(setup):
  record = setup.loop.run(lambda step: len(setup.steps) == 5)
  assert record.to_dict()['steps'] == 5 and record is setup.loop.record
  assert setup.arm.calls == ['command'] * 5 + ['hold']
  assert setup.loop.run(lambda step: True).to_dict()['steps'] == 1


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError('disk full')])
def test_whatever_ends_an_episode_the_arm_holds_first(setup, error):
  def fail():
    if len(setup.steps) == 2:
      raise error

  setup.driver.also, setup.arm.faults = fail, {'hold': 1}
  with pytest.raises((KeyboardInterrupt, OSError)):
    setup.loop.run(lambda step: False)
  assert setup.arm.calls == ['command'] * 2 + ['hold'] * 2
  assert setup.loop.record.steps == 2


@pytest.mark.parametrize(
  'kind, calls',
  [
    (StopEventKind.STOP, ['hold']),
    (StopEventKind.STOW, ['hold', 'stow', 'stow', 'stow']),
  ],
)
def test_a_driver_may_return_a_stop_event(setup, kind, calls):
  setup.run(1)
  setup.driver.target = StopEvent(kind, 'the operator asked')
  setup.run(8)
  assert setup.arm.calls == ['command', *calls]
  assert 'the operator asked' in setup.steps[-1].verdict


def test_a_step_without_driving_holds_and_asks_no_driver(setup):
  setup.driver.also = lambda: pytest.fail('the driver was asked')
  for _ in range(3):
    step = setup.loop.step(drive=False)
  assert setup.arm.calls == ['hold'] and 'between two episodes' in step.verdict
  setup.loop.stop('key')
  assert setup.loop.step(drive=False).verdict == 'hold, latched: key'


def test_the_loop_stows_by_itself_after_a_hold():
  config = LoopConfig(fault_steps=1, stop=StopConfig(stow_after_hold_s=0.2))
  setup = FakeLoop(config=config)
  setup.arm.faults = {'observe': 1}
  setup.run(9)
  assert setup.arm.calls == ['hold']
  setup.run(8)
  assert setup.arm.calls == ['hold', 'stow', 'stow', 'stow']
  assert setup.steps[-1].verdict.startswith('stow: 0.2 s in hold')
