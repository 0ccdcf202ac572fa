"""The record of a run, with a loop that computes nothing."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.export import checkpoint
from rlt_jax.training import actors, loop
from tests.training.fake_run import CONFIG, maker, SimpleLearner


@pytest.mark.parametrize(
  'marks, said',
  [
    ((1.0, 3.0, 4.5), 'at the minutes 3, 4.5: the run ends at 2.'),
    ((2.0,), ''),
  ],
)
def test_evaluations_beyond_the_end_are_said_at_the_start(
  tmp_path, monkeypatch, capsys, marks, said
):
  config = dataclasses.replace(CONFIG, eval_at_minutes=marks)
  run = maker(monkeypatch)(tmp_path / 'a', config=config)
  run.experiment.evaluate_base()
  run.close()
  lines = capsys.readouterr().out.splitlines()
  found = [line for line in lines if line.startswith('No evaluation is made')]
  assert found == ([f'No evaluation is made {said}'] if said else [])


def _state(world=0.0, weight=0.0):
  """Returns a state of practice with one number of a world and one learned."""
  one = np.zeros(1)
  return loop.PracticeState(
    actors=actors.ActorsState(
      env_states={'best': np.full(1, world)}, features=one, key=one
    ),
    learner=SimpleLearner(agent={'w': np.full(1, weight)}, rows=0),
    pending=one,
    policy=one,
    env_steps=0,
    outcome=one,
    length=one,
  )


def test_a_task_may_use_infinity_in_a_state_that_is_saved(
  tmp_path, monkeypatch
):
  run = maker(monkeypatch)(tmp_path / 'a')
  save = run.experiment.save
  save(_state(world=np.inf), 10)
  assert checkpoint.latest(tmp_path / 'a') == 10
  with pytest.raises(ValueError, match='not hold NaN: actors/env_states/best'):
    save(_state(world=np.nan), 20)
  with pytest.raises(ValueError, match='must be finite: learner/agent/w'):
    save(_state(weight=np.inf), 20)
  run.close()
