"""The record of a run, with a loop that computes nothing."""

import dataclasses

import pytest

from tests.training.fake_run import CONFIG, maker


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
