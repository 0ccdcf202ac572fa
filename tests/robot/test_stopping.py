"""Stop states as the operator meets them: through devices, run and loop."""

import functools
import os
import pty

import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.arms.faults import Fault
from rlt_jax.robot.control.stop_states import StopState
from rlt_jax.robot.operator.events import DeviceError, Kind
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.operator.terminal import Terminal
from tests.robot import pedal_and_keys
from tests.robot.fakes import ARM, FakeRobot
from tests.robot.pedal_and_keys import DOWN, UP

_START = 100.0  # s, of the fake clock


class StoppedRun:
  """A run, and what its dashboard showed after every step of a wait."""

  def __init__(self, folder, *, max_steps=600, plan=None, **changes):
    self.robot = FakeRobot(folder / 'journal', **changes)
    self.views = []
    self.run = self.robot.schedule(
      folder, notify=self._notify, **(plan or {'minutes': 0.02})
    )
    self.robot.on_step = self._end_late
    self._max_steps = max_steps

  def _notify(self):
    self.views.append((self._now(), self.run.view()))

  def _end_late(self, step):
    if len(self.robot.steps) >= self._max_steps:
      self.run.stop = True  # as Ctrl-C does

  def _now(self):
    return self.robot.clock.time - _START

  def finish(self):
    self.run.run()
    self.run.results.close()
    return self

  def view(self, time):
    """Returns what was shown at this time, s."""
    return next(view for at, view in self.views if at >= time)

  def sent_between(self, first, last):
    sent = [x.time - _START for x in self.robot.sent]
    return [time for time in sent if first < time < last]

  @property
  def outcomes(self):
    return [x['outcome'] for x in self.run.results.episodes]

  @property
  def state(self):
    return self.robot.loop.stop_status.state


def test_a_stop_is_cleared_only_by_an_explicit_clear(tmp_path):
  script = [(0.4, Kind.STOP), (1.0, Kind.RELEASE), (2.0, Kind.CLEAR)]
  stopped = StoppedRun(tmp_path, script=[*script, (3.0, Kind.RELEASE)]).finish()
  view = stopped.view(0.6)
  assert view.arm == 'hold, latched'
  assert 'the operator stopped the arm' in view.message
  assert 'no substitute for the emergency button' in view.message
  assert 'clear it first' in stopped.view(1.1).message
  assert stopped.view(2.1).arm == 'hold'
  assert not stopped.sent_between(0.5, 3.0)
  assert stopped.sent_between(3.0, 4.0)
  assert stopped.outcomes[0] == 'hold' and 'time_out' in stopped.outcomes
  assert stopped.state is StopState.RUN


def test_the_loop_keeps_stepping_while_the_arm_is_stopped(tmp_path):
  script = [(0.4, Kind.STOP), (2.0, Kind.CLEAR), (2.0, Kind.RELEASE)]
  stopped = StoppedRun(tmp_path, script=script).finish()
  times = np.array([x.time for x in stopped.robot.steps]) - _START
  waiting = times[(times > 0.5) & (times < 2.0)]
  np.testing.assert_allclose(np.diff(waiting), 0.02, atol=1e-6)
  # They are no part of an episode.
  steps = sum(x['steps'] for x in stopped.run.results.episodes)
  assert stopped.run.results.record.steps < len(stopped.robot.steps) - 60
  assert steps <= stopped.run.results.record.steps


def test_a_stopped_arm_is_stowed_and_runs_again(tmp_path):
  script = [
    (0.6, Kind.STOP), (1.0, Kind.STOW), (3.0, Kind.CLEAR), (3.5, Kind.RELEASE),
  ]  # fmt: skip
  stopped = StoppedRun(tmp_path, script=script).finish()
  assert stopped.view(1.04).arm == 'stow, latched, in progress'
  assert stopped.view(2.9).arm == 'stow, latched'
  assert stopped.view(3.2).arm == 'stow'
  assert 'the operator asked to stow' in stopped.view(2.9).message
  assert not stopped.sent_between(0.7, 3.5) and stopped.sent_between(3.5, 4.0)
  calls = stopped.robot.arm_calls
  assert calls[: calls.index('stow') + 1][-2:] == ['hold', 'stow']
  assert 'disable' not in calls


def test_stow_during_an_episode_ends_it_and_waits(tmp_path):
  script = [(0.6, Kind.STOW), (3.0, Kind.RELEASE)]
  stopped = StoppedRun(tmp_path, script=script).finish()
  assert stopped.outcomes[0] == 'hold'
  assert 'asked to stow' in stopped.run.results.episodes[0]['cause']
  assert stopped.view(2.9).arm == 'stow'
  assert not stopped.sent_between(0.7, 3.0) and stopped.sent_between(3.0, 4.0)


def test_disable_stows_first_and_ends_the_run(tmp_path):
  stopped = StoppedRun(tmp_path, script=[(0.6, Kind.DISABLE)]).finish()
  arm = stopped.robot.arm
  calls = stopped.robot.arm_calls
  assert calls[-3:] == ['hold', 'stow', 'disable']
  assert len(stopped.outcomes) == 1 and stopped.state is StopState.DISABLE
  assert 'the operator asked to disable' in stopped.run.cause
  assert (np.abs(arm.observe().position - ARM.stow) <= ARM.max_step).all()


def test_a_stop_on_the_way_down_holds(tmp_path):
  script = [(0.6, Kind.DISABLE), (0.66, Kind.STOP), (2.0, Kind.STOW)]
  stopped = StoppedRun(tmp_path, script=script, max_steps=200).finish()
  assert stopped.view(1.9).arm == 'hold, latched'
  assert stopped.robot.arm_calls[-4:] == ['hold', 'stow', 'hold', 'stow']
  assert stopped.state is StopState.STOW


def test_time_takes_an_arm_with_a_fault_down(tmp_path):
  stopped = StoppedRun(
    tmp_path,
    faults=[Fault(kind='lost', at_s=0.4, calls=10)],
    stow_after_hold_s=0.5,
    disable_after_stow_s=1.0,
  ).finish()
  times = dict((name, time - _START) for time, name in stopped.robot.arm.events)
  assert stopped.robot.arm_calls[-3:] == ['hold', 'stow', 'disable']
  assert 0.5 <= times['stow'] - times['hold'] < 0.6
  assert times['disable'] - times['stow'] >= 1.0
  assert (
    'was lost' in stopped.run.cause and '1.0 s in stow' in stopped.run.cause
  )


@pytest.mark.parametrize('begins', ['fault', 'stow', 'stop'])
def test_a_foot_that_comes_off_the_pedal_does_not_start_the_arm(
  tmp_path, begins
):
  """The pedal is down when the arm is stopped; press and lift starts it."""
  how = {
    'fault': [],
    'stow': [(0.6, Kind.STOW)],
    'stop': [(0.6, Kind.STOP), (0.8, Kind.CLEAR)],
  }[begins]
  lost = [Fault(kind='lost', at_s=0.6, calls=10)] * (begins == 'fault')
  script = [(0.2, DOWN), *how, (3.0, UP), (4.0, DOWN), (5.0, UP)]
  stopped = StoppedRun(
    tmp_path, device=pedal_and_keys.scripted(*script), faults=lost
  )
  said = []
  stopped.robot.operator.feedback.say = said.append
  stopped.finish()
  assert [x.source for x in stopped.robot.sent if x.time < _START + 0.6]
  assert not stopped.sent_between(0.7, 5.0)
  assert stopped.sent_between(5.0, 6.0)
  assert 'stays stopped' in said[0] and len(said) == 1


@pytest.mark.parametrize('between', [Kind.STOP, Kind.CLEAR, Kind.STOW])
def test_the_pedal_must_be_pressed_after_all_else_that_is_asked_for(
  tmp_path, between
):
  script = [(0.4, Kind.STOP), (0.8, Kind.CLEAR), (1.0, DOWN), (1.2, between)]
  script += [(2.8, Kind.CLEAR), (3.0, UP)]
  stopped = StoppedRun(tmp_path, device=pedal_and_keys.scripted(*script))
  stopped.finish()
  assert not stopped.sent_between(0.5, 99.0)


def test_a_press_that_is_heard_late_is_none_after_the_stop(tmp_path):
  """While the arm does not answer nobody is heard, for three control steps."""
  script = [(0.43, DOWN), (2.0, UP), (3.0, Kind.RELEASE)]
  stopped = StoppedRun(
    tmp_path,
    device=pedal_and_keys.scripted(*script),
    faults=[Fault(kind='lost', at_s=0.4, calls=10)],
  )
  stopped.finish()
  assert not stopped.sent_between(0.5, 3.0) and stopped.sent_between(3.0, 4.0)


def test_a_pedal_held_over_a_release_by_a_key_goes_on_driving(tmp_path):
  script = [(0.2, DOWN), (0.6, Kind.STOW), (3.0, Kind.RELEASE), (4.5, UP)]
  stopped = StoppedRun(tmp_path, device=pedal_and_keys.scripted(*script))
  stopped.finish()
  sent = [(x.time - _START, x.source) for x in stopped.robot.sent]
  assert {source for at, source in sent if 3.0 < at < 4.5} == {'human'}
  assert 'actor' in {source for at, source in sent if at > 4.5}


@pytest.mark.parametrize('clear', [False, True])
def test_time_never_moves_an_arm_that_the_operator_stopped(tmp_path, clear):
  script = [(0.4, Kind.STOP), *[(0.8, Kind.CLEAR)] * clear]
  stopped = StoppedRun(
    tmp_path,
    script=script,
    stow_after_hold_s=0.5,
    plan={'minutes': 0.02, 'resume_after_s': 0.3},
    max_steps=300,
  ).finish()
  assert stopped.robot.arm_calls[-1] == 'hold'
  assert 'stow' not in stopped.robot.arm_calls
  assert not stopped.sent_between(0.5, 99.0)


def test_a_fault_resumes_by_itself_before_it_stows(tmp_path):
  stopped = StoppedRun(
    tmp_path,
    faults=[Fault(kind='lost', at_s=0.4, calls=10)],
    plan={'minutes': 0.02, 'resume_after_s': 0.3},
    stow_after_hold_s=1.0,
  ).finish()
  assert stopped.state is StopState.RUN and 'time_out' in stopped.outcomes
  assert 'stow' not in stopped.robot.arm_calls


def test_an_operator_who_is_lost_while_the_arm_waits_ends_the_run(tmp_path):
  class Gone(Scripted):
    def poll(self):
      if self._clock.now() > _START + 1.0:
        raise DeviceError('The pedal is gone.')
      return super().poll()

  device = functools.partial(Gone, [(0.4, Kind.STOW)])
  stopped = StoppedRun(tmp_path, device=device).finish()
  assert stopped.run.cause == 'The pedal is gone.'
  assert stopped.robot.arm_calls[-1] == 'hold'
  assert stopped.robot.loop.stop_status.latched


def test_ctrl_c_on_the_way_to_the_stow_pose_holds(tmp_path):
  stopped = StoppedRun(tmp_path, script=[(0.6, Kind.STOW)], max_steps=33)
  stopped.finish()
  assert stopped.robot.arm_calls[-2:] == ['stow', 'hold']
  assert stopped.robot.loop.stop_status.done


def test_a_stop_is_heard_while_the_disk_is_full(tmp_path):
  full = [True]

  def write(fd, data):
    if full[0] and len(stopped.robot.steps) > 20:
      raise OSError(28, 'No space left on device')
    return os.write(fd, data)

  stopped = StoppedRun(
    tmp_path,
    script=[(0.9, Kind.STOW), (4.0, Kind.RELEASE)],
    journal={'write': write},
    time_limit=20,
    starved_steps=99,
  )
  before = stopped.robot.on_step

  def on_step(step):
    before(step)
    full[0] = stopped.robot.clock.time < _START + 3.0

  stopped.robot.on_step = on_step
  stopped.finish()
  assert 'is full' in stopped.view(0.8).message
  assert stopped.view(2.5).arm == 'stow'
  assert not stopped.sent_between(0.9, 4.0) and stopped.sent_between(4.0, 5.0)


def test_the_keys_of_the_terminal_stop_stow_clear_and_release(tmp_path):
  master, slave = pty.openpty()
  try:
    stopped = StoppedRun(
      tmp_path, device=functools.partial(Terminal, fd=slave), max_steps=5_000
    )
    keys = {20: b' ', 60: b'w', 200: b'r', 240: b'x', 280: b'r'}
    before = stopped.robot.on_step

    def on_step(step):
      before(step)
      if key := keys.get(len(stopped.robot.steps)):
        os.write(master, key)

    stopped.robot.on_step = on_step
    stopped.finish()
    stopped.robot.device.close()
  finally:
    os.close(master)
    os.close(slave)
  shown = list(dict.fromkeys(view.arm for _, view in stopped.views))
  assert shown == [
    'hold, latched', 'stow, latched, in progress', 'stow, latched', 'stow',
    'run',
  ]  # fmt: skip
  assert 'time_out' in stopped.outcomes


def test_a_watchdog_that_has_held_the_arm_is_started_again(tmp_path):
  """The loop stalls, the watchdog trips, and the operator releases the arm."""

  class Watchdog:
    trips, answers = 0, ['it cannot be reached', '', '']

    def beat(self):
      if stopped.robot.clock.time > _START + 0.4 and self.trips == 0:
        self.running = False
      if not self.running:
        raise ArmError('The watchdog must run: it has ended.')

    def rest(self):
      self.beat()

    def revive(self):
      if self.running:
        return ''
      self.trips += 1
      fault = self.answers.pop(0)
      self.running = not fault
      return fault

    running = True

  watchdog, said = Watchdog(), []
  stopped = StoppedRun(
    tmp_path, script=[(1.0, Kind.RELEASE), (2.0, Kind.RELEASE)]
  )
  stopped.robot.loop._heartbeat = watchdog
  stopped.run._revive, stopped.run._say = watchdog.revive, said.append
  stopped.finish()
  assert said == ['it cannot be reached'] and watchdog.trips == 2
  assert not stopped.sent_between(0.45, 2.0)
  assert stopped.sent_between(2.0, 3.0)
  assert stopped.outcomes[0] == 'hold' and 'time_out' in stopped.outcomes


@pytest.mark.parametrize('wait', ['stop', 'disk', 'nothing'])
def test_the_watchdog_expects_nothing_while_an_episode_is_prepared(
  tmp_path, wait
):
  class Watchdog:
    def beat(self):
      self.expects = True

    def rest(self):
      self.expects = False

    expects = False

  watchdog, expected = Watchdog(), []
  script = {'stop': [(0.2, Kind.STOW), (3.0, Kind.RELEASE)]}.get(wait, [])

  def write(fd, data):
    if wait == 'disk' and 20 < len(robot.steps) < 90:
      raise OSError(28, 'No space left on device')
    return os.write(fd, data)

  stopped = StoppedRun(
    tmp_path,
    script=script,
    journal={'write': write},
    time_limit=20,
    starved_steps=99,
  )
  robot = stopped.robot
  robot.loop._heartbeat = watchdog
  stopped.run._prepare = lambda *_: expected.append(watchdog.expects)
  stopped.finish()
  assert len(expected) > 1 and not any(expected) and not watchdog.expects
