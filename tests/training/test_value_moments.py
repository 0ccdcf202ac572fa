"""When values are diagnosed, and what is kept of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlt_jax.reporting.statistics import make_episodes
from rlt_jax.training import value_moments
from rlt_jax.training.config import PracticeConfig

_CONFIG = PracticeConfig(num_env_steps=9_000, eval_at_minutes=(2.6,))


@pytest.mark.parametrize(
  'steps, before, due',
  [
    (6_010, None, True),  # the hand-over
    (7_400, 6_010, False),
    (7_500, 6_010, True),  # half a minute is 1,500 steps
    (7_790, 7_500, False),
    (7_800, 7_500, True),  # the evaluation
    (8_990, 7_800, False),
    (9_004, 7_800, True),  # the end
    (9_040, 9_004, False),
  ],
)
def test_moments_are_the_hand_over_half_minutes_and_evaluations(
  steps, before, due
):
  moments = [] if before is None else [{'env_steps': before}]
  assert value_moments.is_due(_CONFIG, steps, moments) == due


class _Record:
  def __init__(self):
    self.data = {}

  def put(self, name, value):
    self.data[name] = value


def _experiment(answer, monkeypatch):
  monkeypatch.setattr(value_moments, 'newest_rows', lambda *_: 'rows')
  agent = SimpleNamespace(diagnose_values=answer)
  return SimpleNamespace(
    config=_CONFIG,
    shared=SimpleNamespace(setup=SimpleNamespace(agent=agent)),
    record=_Record(),
    print_line=print,
  )


def _pass(experiment, steps, outcomes, phase='practice'):
  experiment.progress = SimpleNamespace(
    env_steps=steps, episodes=make_episodes(outcomes, np.ones(len(outcomes)))
  )
  value_moments.diagnose(
    experiment, {'phase': phase}, lambda: SimpleNamespace(agent='state')
  )


def test_a_run_keeps_its_moments_and_makes_later_ones_again(monkeypatch):
  experiment = _experiment(lambda state, rows: {state: rows}, monkeypatch)
  _pass(experiment, 3_000, [1], 'warm-up')
  assert value_moments.columns(experiment) == {}
  _pass(experiment, 6_000, [1, 0])
  _pass(experiment, 6_010, [1, 0, 0])  # not due
  _pass(experiment, 7_500, [1, 0, 1, 1, 0])
  expected = {
    'env_steps': [6_000, 7_500],
    'robot_minutes': [2.0, 2.5],
    'episodes': [2, 3],
    'success': [0.5, pytest.approx(2 / 3)],
    'state': ['rows', 'rows'],
  }
  assert value_moments.columns(experiment) == expected
  # A resumed run comes to the same moment again.
  _pass(experiment, 7_500, [1, 0, 1, 1, 0])
  assert value_moments.columns(experiment) == expected


def test_an_agent_that_fails_ends_no_run(monkeypatch, capsys):
  def fail(state, rows):
    raise KeyError('critic')

  experiment = _experiment(fail, monkeypatch)
  _pass(experiment, 6_000, [])
  _pass(experiment, 7_500, [1])
  assert capsys.readouterr().out.count("KeyError: 'critic'") == 1
  found = value_moments.columns(experiment)
  assert found['success'] == [None, 1.0]


def test_an_agent_without_values_has_no_moments(monkeypatch):
  experiment = _experiment(None, monkeypatch)
  _pass(experiment, 6_000, [1])
  assert value_moments.columns(experiment) == {}


def test_more_episodes_than_the_history_holds_are_not_counted(monkeypatch):
  monkeypatch.setattr(value_moments.loop_lib, 'HISTORY', 3)
  experiment = _experiment(lambda *_: {}, monkeypatch)
  _pass(experiment, 6_000, [1, 0])
  _pass(experiment, 7_500, [1, 0, 1])
  found = value_moments.columns(experiment)
  assert found['episodes'] == [2, None] and found['success'] == [0.5, None]
