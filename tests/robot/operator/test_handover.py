import numpy as np
import pytest

from rlt_jax.robot.operator.events import Event, Kind
from rlt_jax.robot.operator.handover import (
  advance,
  begin,
  Drive,
  HandoverState,
  Mode,
  reset,
)
from tests.robot.operator.conftest import make_config

_CONFIG = make_config()
_ARM = np.array([0.1, -0.2, 0.3, 0.01])


class _Loop:
  """Advances at 50 Hz and keeps the last effects."""

  def __init__(self, config=_CONFIG):
    self.config, self.now, self.arm = config, 10.0, _ARM.copy()
    self.state = begin(HandoverState(), now=self.now)
    self.effects = None

  def step(self, *kinds, pose=None, delta=None, steps=1):
    for i in range(steps):
      self.now += 0.02
      events = [Event(k, self.now, 'test') for k in kinds] if i == 0 else []
      self.state, self.effects = advance(
        self.state,
        events,
        arm_pose=self.arm,
        human_pose=pose,
        human_delta=delta,
        now=self.now,
        config=self.config,
      )
    return self.effects


def _off(joint=1, by=0.1):
  pose = _ARM.copy()
  pose[joint] += by
  return pose


def test_an_operator_takes_over_and_gives_back():
  loop = _Loop()
  assert loop.step().drive is Drive.POLICY
  taken = loop.step(Kind.TAKEOVER, pose=_ARM)
  assert (taken.drive, taken.clear_queue) == (Drive.HOLD, True)
  assert taken.message == 'Aligned: keep still.'
  effects = loop.step(pose=_ARM, steps=11)
  assert (loop.state.mode, effects.drive) == (Mode.HUMAN, Drive.HUMAN)
  np.testing.assert_array_equal(effects.command, _ARM)
  assert not loop.step(pose=_off()).clear_queue
  released = loop.step(Kind.RELEASE, pose=_off())
  assert (loop.state.mode, released.drive) == (Mode.RELEASING, Drive.HOLD)
  assert released.command is None
  while loop.state.mode is Mode.RELEASING:
    effects = loop.step(pose=_off())
  held = loop.now - released.accepted[0].time
  assert held == pytest.approx(0.2, abs=0.021)
  assert (effects.drive, effects.clear_queue) == (Drive.POLICY, True)


def test_an_episode_can_begin_taken_over():
  loop = _Loop()
  loop.step(Kind.ABORT)
  loop.state = begin(loop.state, now=loop.now, taken_over=True)
  assert loop.step(pose=_off(by=0.12), steps=100).drive is Drive.HOLD
  assert loop.step(pose=_ARM, steps=12).drive is Drive.HUMAN
  assert loop.step(Kind.RELEASE, pose=_ARM).drive is Drive.HOLD
  assert loop.step(steps=11).drive is Drive.POLICY


def test_the_arm_holds_and_names_the_joints_until_aligned():
  loop = _Loop()
  effects = loop.step(Kind.TAKEOVER, pose=_off(by=0.12), steps=100)
  assert (effects.drive, effects.command) == (Drive.HOLD, None)
  assert effects.message == (
    'Not aligned: shoulder is off by +0.120 rad (at most 0.050).'
  )
  pose = _off(by=0.12)
  pose[3] -= 0.006
  words = loop.step(pose=pose).message
  assert words.index('grip is off by -0.006 m') < words.index('shoulder')


def test_alignment_must_last_for_align_s():
  loop = _Loop()
  loop.step(Kind.TAKEOVER, pose=_ARM, steps=8)
  loop.step(pose=_off())  # swings past
  assert loop.step(pose=_ARM, steps=8).drive is Drive.HOLD
  assert loop.step(pose=_ARM, steps=4).drive is Drive.HUMAN


def test_a_jump_of_the_leader_is_not_followed():
  loop = _Loop()
  loop.step(Kind.TAKEOVER, pose=_ARM, steps=12)
  assert loop.step(pose=_off(by=0.14)).drive is Drive.HUMAN
  assert loop.step(pose=_off(by=0.16)).drive is Drive.HOLD
  assert loop.state.mode is Mode.ALIGNING
  # Back within keep_tolerance is not enough to drive again.
  assert loop.step(pose=_off(by=0.14), steps=20).drive is Drive.HOLD


@pytest.mark.parametrize(
  'pose, words',
  [
    (None, 'The teleoperator gives no command: the arm holds.'),
    (_off(2, np.nan), 'The teleoperator gives no finite number for elbow'),
  ],
)
def test_a_silent_leader_makes_the_arm_hold(pose, words):
  loop = _Loop()
  loop.step(Kind.TAKEOVER, pose=_ARM, steps=12)
  effects = loop.step(pose=pose)
  assert (loop.state.mode, effects.drive) == (Mode.ALIGNING, Drive.HOLD)
  assert effects.message.startswith(words)


def test_an_arm_without_a_pose_is_not_driven():
  loop = _Loop()
  loop.arm[0] = np.nan
  assert 'The arm gives no finite number for yaw' in (
    loop.step(Kind.TAKEOVER, pose=_ARM, steps=50).message
  )
  assert loop.step(delta=np.zeros(4)).drive is Drive.HOLD


def test_a_relative_device_drives_at_once_from_where_the_arm_is():
  loop = _Loop()
  delta = np.array([0.01, 0.0, 0.0, 0.0])
  effects = loop.step(Kind.TAKEOVER, delta=delta)
  assert effects.drive is Drive.HUMAN
  np.testing.assert_allclose(effects.command, _ARM + delta)
  # It goes on from its target: an arm that sags is not followed down.
  loop.arm = _ARM - 0.003
  np.testing.assert_allclose(loop.step(delta=delta).command, _ARM + 2 * delta)
  # A wall: the target leads by keep_tolerance, and comes back at once.
  command = loop.step(delta=delta, steps=100).command
  assert command[0] == pytest.approx(loop.arm[0] + 0.15)
  assert loop.step(delta=-delta).command[0] == pytest.approx(command[0] - 0.01)


@pytest.mark.parametrize('mode', list(Mode))
def test_a_stop_latches_from_every_mode(mode):
  loop = _Loop()
  loop.state = loop.state._replace(mode=mode)
  effects = loop.step(Kind.STOP, pose=_ARM)
  assert (loop.state.mode, effects.drive) == (Mode.STOPPED, Drive.HOLD)
  assert effects.stopped == (mode is not Mode.STOPPED)
  effects = loop.step(*(k for k in Kind), pose=_ARM, steps=100)
  assert (loop.state.mode, effects.drive) == (Mode.STOPPED, Drive.HOLD)
  with pytest.raises(ValueError, match='must begin from ended: stopped'):
    begin(loop.state, now=loop.now)
  loop.state = reset(loop.state, now=loop.now)
  assert loop.step(pose=_ARM).drive is Drive.HOLD
  loop.state = begin(loop.state, now=loop.now)
  assert loop.step(pose=_ARM).drive is Drive.POLICY


@pytest.mark.parametrize('kind', [Kind.STOW, Kind.DISABLE])
def test_stow_and_disable_end_an_episode_and_are_never_lost(kind):
  loop = _Loop()
  loop.step(Kind.TAKEOVER, pose=_ARM, steps=20)
  effects = loop.step(kind, pose=_ARM)
  assert (loop.state.mode, effects.drive) == (Mode.ENDED, Drive.HOLD)
  assert effects.ended is kind and not effects.stopped
  assert [event.kind for event in effects.accepted] == [kind]
  # Even right after a label, or twice in a row.
  again = loop.step(kind, pose=_ARM)
  assert [event.kind for event in again.accepted] == [kind]
  assert again.ended is None


def test_there_is_nothing_to_clear_in_an_episode():
  effects = _Loop().step(Kind.CLEAR)
  ((event, why),) = effects.ignored
  assert event.kind is Kind.CLEAR and why == 'there is no stop to clear'
  assert effects.drive is Drive.POLICY


def test_only_a_stop_can_be_reset():
  with pytest.raises(ValueError, match='Only a stop can be reset: autonomous'):
    reset(_Loop().state, now=0.0)


@pytest.mark.parametrize(
  'kind', [Kind.SUCCESS, Kind.FAILURE, Kind.ABORT, Kind.RERECORD, Kind.STOP]
)
def test_an_episode_ends_once(kind):
  loop = _Loop()
  loop.step(steps=50)
  effects = loop.step(kind)
  assert (effects.ended, effects.drive) == (kind, Drive.HOLD)
  assert effects.clear_queue
  for other in (Kind.FAILURE, Kind.SUCCESS, kind):
    loop.now += 1.0
    effects = loop.step(other)
    assert effects.ended is None and effects.ignored


def test_of_two_labels_in_a_step_the_first_counts():
  loop = _Loop()
  loop.now += 1.0
  events = [
    Event(Kind.STOP, loop.now, 'pedal'),
    Event(Kind.FAILURE, loop.now - 0.01, 'terminal'),
    Event(Kind.SUCCESS, loop.now - 0.02, 'terminal'),
  ]
  state, effects = advance(
    loop.state,
    events,
    arm_pose=_ARM,
    human_pose=None,
    now=loop.now,
    config=_CONFIG,
  )
  assert (effects.ended, effects.stopped) == (Kind.SUCCESS, True)
  assert (state.mode, state.outcome) == (Mode.STOPPED, Kind.SUCCESS)
  assert effects.ignored == ((events[1], 'no episode runs'),)


def test_the_critical_phase_begins_once_per_episode():
  loop = _Loop()
  assert loop.step(Kind.ENTER_CRITICAL).entered_critical
  loop.now += 1.0
  effects = loop.step(Kind.ENTER_CRITICAL, Kind.ABORT)
  assert not effects.entered_critical and loop.state.critical
  assert effects.drive is Drive.HOLD
  loop.state = begin(loop.state, now=loop.now)
  assert not loop.state.critical


def test_a_late_second_press_does_not_label_the_next_episode():
  loop = _Loop()
  loop.step(steps=50)
  loop.step(Kind.SUCCESS)
  loop.state = begin(loop.state, now=loop.now)
  assert loop.step(Kind.SUCCESS).ignored[0][1] == 'bounce'
  loop.now += 0.3
  assert 'too soon for a label' in loop.step(Kind.SUCCESS).ignored[0][1]
  assert loop.step(Kind.ABORT).ended is Kind.ABORT


def test_the_last_event_of_a_bouncing_pedal_counts():
  loop = _Loop()
  loop.step(Kind.TAKEOVER, Kind.RELEASE, Kind.TAKEOVER, pose=_ARM)
  assert loop.state.mode is Mode.ALIGNING
  loop.step(Kind.RELEASE, Kind.TAKEOVER, Kind.RELEASE, pose=_ARM)
  assert loop.state.mode is Mode.RELEASING


def test_buttons_work_after_the_clock_goes_back():
  loop = _Loop()
  loop.step(Kind.ENTER_CRITICAL)
  loop.step(Kind.ABORT)
  loop.now -= 5.0
  loop.state = begin(loop.state, now=loop.now)
  assert loop.step(Kind.ENTER_CRITICAL).entered_critical


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'pose': np.zeros(3)}, r'human_pose must have .* 4: \(3,\)'),
    ({'pose': _ARM, 'delta': _ARM}, 'either a pose or a delta'),
  ],
)
def test_bad_commands_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    _Loop().step(**changes)


def test_no_random_sequence_of_events_breaks_the_rules():
  rng = np.random.default_rng(0)
  loop, ends, was = _Loop(make_config(align_s=0.1)), 0, None
  kinds = [*Kind, Kind.TAKEOVER, Kind.TAKEOVER]
  modes, by_pose = set(), 0
  for i in range(12_000):
    if i % 50 == 0:  # a calm hand or not, a busy finger or not
      spread = rng.choice([0.005, 0.05, 0.3])
      chance = rng.choice([0.0, 0.01, 0.3], p=[0.3, 0.6, 0.1])
      relative = rng.random() < 0.2
    scale = np.array([1, 1, 1, 0.02])
    loop.arm = _ARM + rng.normal(0, 0.02, 4) * scale
    pose = loop.arm + rng.normal(0, spread, 4) * scale
    if rng.random() < 0.01:
      pose[rng.integers(4)] = rng.choice([np.nan, np.inf])
    silent = rng.random() < 0.01
    given = [k for k in kinds if rng.random() < chance]
    rng.shuffle(given)
    effects = loop.step(
      *given,
      pose=None if silent or relative else pose,
      delta=pose - loop.arm if relative and not silent else None,
    )
    assert (effects.command is not None) == (effects.drive is Drive.HUMAN)
    if effects.command is not None:
      off = np.abs(effects.command - loop.arm)
      begins = was is not Mode.HUMAN and not relative
      limit = _CONFIG.align_tolerance if begins else _CONFIG.keep_tolerance
      assert np.all(off <= np.array(limit) + 1e-12)
      by_pose += not relative
    if was is Mode.STOPPED or Kind.STOP in given:
      assert loop.state.mode is Mode.STOPPED and effects.drive is Drive.HOLD
    running = loop.state.mode not in (Mode.ENDED, Mode.STOPPED)
    ends += effects.ended is not None
    assert ends == (not running)
    modes.add(loop.state.mode)
    if not running and rng.random() < 0.1:
      if loop.state.mode is Mode.STOPPED:
        loop.state = reset(loop.state, now=loop.now)
      loop.state, ends = begin(loop.state, now=loop.now), 0
    was = loop.state.mode
  assert modes == set(Mode) and by_pose > 200  # or nothing was tried
