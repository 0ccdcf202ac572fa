"""Which policies hear which instructions."""

import signal
import threading
import types

import pytest

from rlt_jax import signals
from rlt_jax.training import policies
from rlt_jax.training.config import PracticeConfig


def test_each_policy_hears_its_own_instruction_and_then_others():
  checked, runs = [], []

  def run(policy, episodes, *, prompt):
    runs.append((policy, episodes, prompt))
    return 'episodes', []

  evaluation = policies.Evaluation(
    types.SimpleNamespace(run=run),
    {'a': 1, 'b': 2},
    types.SimpleNamespace(
      task=types.SimpleNamespace(
        spec=types.SimpleNamespace(instruction='insert')
      ),
      embedder=types.SimpleNamespace(check_instruction=checked.append),
    ),
    None,
    '',
  )
  trials = evaluation.trials(['lift'])
  assert trials == [
    ('a', 'a', 'insert'),
    ('b', 'b', 'insert'),
    ("a, 'lift'", 'a', 'lift'),
    ("b, 'lift'", 'b', 'lift'),
  ]
  assert checked == ['lift'] and not runs
  assert evaluation.run(*trials[3][1:2], 7, trials[3][2]) == 'episodes'
  assert runs == [(2, 7, 'lift')]


def test_an_evaluation_is_given_up_at_a_signal():
  goes_on, ended = threading.Event(), []

  def run(policy, episodes, *, prompt):
    del policy, episodes, prompt
    signal.raise_signal(signal.SIGTERM)
    ended.append(goes_on.wait(60.0))  # it may be compiling
    return 'episodes', []

  evaluation = policies.Evaluation(
    types.SimpleNamespace(run=run), {'a': 1}, None, None, ''
  )
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    evaluation.run('a', 7)
  assert not ended
  goes_on.set()


def test_a_person_and_a_limit_of_steps_are_not_recorded_together():
  evaluation = policies.Evaluation(None, {'a': 1}, None, None, 'The VLA alone.')
  _, about = evaluation.demonstrator(worlds=2, steps=80, stall_s=None)
  assert about == 'The VLA alone.'
  with pytest.raises(ValueError, match='steps must be unset with stall_s.*80'):
    evaluation.demonstrator(worlds=2, steps=80, stall_s=2.0)
  evaluation = evaluation._replace(config=PracticeConfig(inference_delay=4))
  with pytest.raises(ValueError, match='inference_delay must be 0 .*: 4'):
    evaluation.demonstrator(worlds=2, steps=None, stall_s=2.0)
