"""Advice on an agent's settings."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.agents.agent import Agent, Diagnosis
from rlt_jax.reporting import statistics
from rlt_jax.training import advice
from rlt_jax.types import Outcome

_FAILED = statistics.make_episodes([Outcome.TIME_OUT] * 2, [500] * 2)
_MIXED = statistics.make_episodes([Outcome.TIME_OUT, Outcome.SUCCESS], [5, 9])


def _advise(diagnose, episodes):
  fields = dict.fromkeys(field.name for field in dataclasses.fields(Agent))
  agent = Agent(**fields | {'diagnose': diagnose})
  return advice.advise(agent, {}, episodes, lambda: np.zeros((2, 1, 1, 1)))


def _lower_beta(metrics, references):
  del metrics
  return Diagnosis('Lower beta.', {'size': references.size})


def test_the_agents_own_advice_is_given():
  assert _advise(_lower_beta, _MIXED) == Diagnosis('Lower beta.', {'size': 2})
  assert _advise(None, _MIXED) is None


@pytest.mark.parametrize(
  'episodes', [_FAILED, statistics.make_episodes([], [])]
)
def test_without_a_success_the_advice_is_to_warm_up_longer(episodes):
  found = _advise(_lower_beta, episodes)
  assert found.text.startswith('No success seen yet: warm up longer')
  assert found.numbers == {'size': 2}


def test_advice_that_fails_ends_no_run():
  def fail(metrics, references):
    raise KeyError('beta_ratio')

  found = _advise(fail, _MIXED)
  assert "KeyError: 'beta_ratio'" in found.text and found.numbers == {}
