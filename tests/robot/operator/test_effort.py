import pytest

from rlt_jax.robot.operator.effort import Effort
from rlt_jax.robot.operator.events import Event, Kind
from rlt_jax.robot.operator.handover import Drive, Effects, Mode

_QUIET = Effects(Drive.POLICY)


def _pressed(*kinds):
  return Effects(
    Drive.POLICY, accepted=tuple(Event(k, 0.0, 'test') for k in kinds)
  )


def test_seconds_and_presses_per_success():
  effort = Effort()
  effort.step(Mode.AUTONOMOUS, _QUIET, 5.0)
  effort.step(Mode.ALIGNING, _pressed(Kind.TAKEOVER), 1.0)
  effort.step(Mode.HUMAN, _QUIET, 2.0)
  effort.step(Mode.RELEASING, _pressed(Kind.RELEASE), 0.5)
  effort.step(Mode.ENDED, _pressed(Kind.SUCCESS), 0.5)
  assert effort.end(Kind.SUCCESS) == {'human_s': 3.0, 'presses': 3}
  effort.step(Mode.HUMAN, _QUIET, 4.0)
  assert effort.end(Kind.FAILURE) == {'human_s': 4.0, 'presses': 0}
  assert effort.end(Kind.SUCCESS) == {'human_s': 0.0, 'presses': 0}
  assert effort.report() == {
    'episodes': 3,
    'successes': 2,
    'human_s': 7.0,
    'presses': 3,
    'human_s_per_episode': 7 / 3,
    'presses_per_episode': 1.0,
    'human_s_per_success': 3.5,
    'presses_per_success': 1.5,
  }


def test_a_discarded_episode_counts_only_as_effort():
  effort = Effort()
  effort.step(Mode.HUMAN, _pressed(Kind.RERECORD), 2.0)
  effort.end(Kind.RERECORD)
  assert effort.report()['human_s_per_success'] is None
  effort.end(Kind.SUCCESS)
  report = effort.report()
  assert (report['episodes'], report['human_s_per_success']) == (1, 2.0)


@pytest.mark.parametrize('elapsed', [-0.1, float('nan')])
def test_time_must_go_forward(elapsed):
  with pytest.raises(ValueError, match='elapsed_s must be at least 0'):
    Effort().step(Mode.HUMAN, _QUIET, elapsed)
