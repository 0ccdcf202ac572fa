"""Who drives when an episode begins, by devices that hold and that toggle."""

import pytest

from rlt_jax.robot.episode_operator import EpisodeOperator
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.handover import Mode
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import FakeRobot, make_handover
from tests.robot.pedal_and_keys import DOWN, scripted, UP


class _Operator(EpisodeOperator):
  """Hears a script, between episodes, up to a time in s."""

  def __init__(self, *script):
    clock = FakeClock(0.0)
    super().__init__(
      scripted(*script)(clock=clock),
      make_handover(),
      clock=clock,
      period_s=0.02,
    )
    self.device.open()

  def hear(self, until):
    self._clock.time = until
    return self.poll_stopped()

  def mode_at(self, time):
    """Returns the mode in which an episode begins."""
    self.hear(time)
    self.begin(time)
    return self.mode


@pytest.mark.parametrize(
  'script, mode',
  [
    ([], Mode.AUTONOMOUS),
    ([(1.0, DOWN)], Mode.ALIGNING),
    ([(1.0, DOWN), (1.1, UP)], Mode.AUTONOMOUS),
    # A key that takes over between two episodes is not forgotten either.
    ([(1.0, Kind.TAKEOVER)], Mode.ALIGNING),
    ([(1.0, Kind.TAKEOVER), (1.1, Kind.RELEASE)], Mode.AUTONOMOUS),
    # To let go of one is not to let go of the other.
    ([(1.0, DOWN), (1.1, Kind.RELEASE)], Mode.ALIGNING),
  ],
)
def test_an_episode_begins_taken_over_by_whoever_asked(script, mode):
  assert _Operator(*script).mode_at(2.0) is mode


def test_a_key_takes_over_one_episode_only():
  operator = _Operator((1.0, Kind.TAKEOVER))
  assert operator.mode_at(2.0) is Mode.ALIGNING
  operator.end('abort')
  assert operator.mode_at(3.0) is Mode.AUTONOMOUS


def test_a_device_that_is_lost_no_longer_holds():
  operator = _Operator((1.0, DOWN))
  operator.hear(1.5)
  operator.device.faults.append('pedal: pulled out')
  assert operator.mode_at(2.0) is Mode.AUTONOMOUS


def test_a_pedal_that_is_held_drives_from_one_episode_to_the_next(tmp_path):
  robot = FakeRobot(
    tmp_path,
    time_limit=120,
    device=scripted((0.5, DOWN), (1.4, Kind.SUCCESS), (3.0, UP)),
  )
  assert robot.episode().outcome == 'success'
  sources = {x.source for x in robot.sent if x.time > 100.8}
  assert sources == {'human'}
  result = robot.episode()
  by_source = {}
  for step in robot.sent:
    if step.time > 101.5:
      by_source.setdefault(str(step.source), []).append(step.time - 100.0)
  # The policy drives only once the foot is up, and release_s has passed.
  assert min(by_source['actor']) > 3.2 and min(by_source['human']) < 2.0
  assert set(by_source) <= {'human', 'actor', 'wait'}
  assert min(by_source.get('wait', [9.0])) > 3.2
  assert result.human_s == pytest.approx(1.6, abs=0.1)


def test_what_is_ignored_is_said_with_the_reason(tmp_path):
  script = [(0.1, Kind.SUCCESS), (0.2, Kind.CLEAR)]
  script += [(0.3 + 0.03 * i, Kind.RELEASE) for i in range(10)]
  robot = FakeRobot(tmp_path, time_limit=50, device=scripted(*script))
  said = []
  robot.operator.feedback.say = said.append
  assert robot.episode().outcome == 'time_out'
  assert said == [
    "Ignored 'success' of the scripted: too soon for a label: the episode has "
    'just begun.',
    "Ignored 'clear' of the scripted: there is no stop to clear.",
    "Ignored 'release' of the scripted: not taken over.",
  ]


def test_a_bounce_is_said(tmp_path):
  device = scripted((0.5, Kind.ENTER_CRITICAL), (0.6, Kind.ENTER_CRITICAL))
  robot = FakeRobot(tmp_path, start_in_critical_phase=False, device=device)
  said = []
  robot.operator.feedback.say = said.append
  robot.episode()
  assert said == ["Ignored 'enter_critical' of the scripted: bounce."]


def test_a_label_that_no_episode_waits_for_is_said():
  said = []
  operator = _Operator((1.0, Kind.SUCCESS), (1.5, Kind.ENTER_CRITICAL))
  operator.feedback.say = said.append
  operator.hear(2.0)
  assert said == [
    "Ignored 'success' of the scripted: no episode waits for a label.",
    "Ignored 'enter_critical' of the scripted: no episode runs.",
  ]


def test_a_label_that_was_heard_already_is_not_said_to_be_ignored(tmp_path):
  script = [(0.6, Kind.SUCCESS), (1.0, Kind.SUCCESS), (1.5, Kind.FAILURE)]
  robot = FakeRobot(tmp_path, device=scripted(*script))
  said = []
  robot.operator.feedback.say = said.append
  assert robot.episode().outcome == 'success'
  robot.clock.time += 2.0
  robot.operator.poll_stopped()
  assert said == [
    "Ignored 'failure' of the scripted: no episode waits for a label."
  ]
