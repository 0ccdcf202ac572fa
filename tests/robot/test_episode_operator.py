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
