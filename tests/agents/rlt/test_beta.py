"""The advice about beta."""

import numpy as np
import pytest

from rlt_jax.agents.rlt import agent as agent_lib
from rlt_jax.agents.rlt import beta, RltConfig


def _metrics(ratio: float, distance: float) -> dict[str, float]:
  return {'beta_ratio': ratio, 'reference_distance': distance}


def test_reference_variance_sums_over_the_chunk():
  chunks = np.zeros((2, 3, 4, 5), np.float32)
  chunks[1] = 2.0
  # Samples 0 and 2 have variance 2 (n - 1), times 4 * 5 entries.
  assert beta.reference_variance(chunks) == pytest.approx(40.0)
  with pytest.raises(ValueError, match='two references per state: 1'):
    beta.reference_variance(chunks[:1])


@pytest.mark.parametrize(
  'ratio, distance, variance, said',
  [
    (0.05, 10.0, 2.0, None),
    (0.05, 10.0, None, None),
    (0.4, 10.0, None, 'Lower beta'),
    (0.004, 10.0, None, 'Check D'),
    (0.05, 40.0, 2.0, 'may collapse'),
    (0.4, 40.0, 2.0, 'Raise beta'),
    (0.05, 1.0, 2.0, 'imitates'),
  ],
)
def test_advice_outside_the_bands_only(ratio, distance, variance, said):
  advice = beta.beta_advice(_metrics(ratio, distance), variance)
  if said is None:
    assert advice is None
  else:
    assert said in advice
    assert f'is {ratio:g}' in advice


def test_report_gives_both_numbers():
  text = beta.beta_report(_metrics(0.05, 10.0), 2.0)
  assert text == (
    'beta * E|a - ref|^2 / E[Q] is 0.05, and D, the squared distance from the '
    'reference over its variance, is 5.'
  )


@pytest.mark.parametrize('ratio, said', [(0.05, 'no value'), (0.4, 'Lower')])
def test_a_reference_that_does_not_vary_has_no_distance(ratio, said):
  chunks = np.ones((8, 3, 4, 14), np.float32)
  found = agent_lib.diagnose(RltConfig(), _metrics(ratio, 10.0), chunks)
  assert said in found.text and 'no value' in found.text
  assert found.numbers['distance'] is None
  assert found.numbers['reference_variance'] == 0.0
