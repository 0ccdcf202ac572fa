import json
import math

import numpy as np
import pytest

from rlt_jax.robot.control.histograms import Histogram


def _of(values):
  histogram = Histogram()
  for value in values:
    histogram.add(value)
  return histogram


@pytest.mark.parametrize('q', [0.01, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_never_too_short_and_at_most_a_bin_too_long(q):
  values = np.random.default_rng(0).lognormal(-6.0, 1.5, 2000)
  exact = np.quantile(values, q, method='inverted_cdf')
  assert exact <= _of(values).quantile(q) <= exact * 1.13


def test_the_worst_is_exact_and_may_be_beyond_every_bin():
  histogram = _of([0.001, 0.0, 5000.0])
  assert histogram.quantile(1.0) == histogram.worst == 5000.0
  assert histogram.quantile(0.3) == pytest.approx(1e-5)


def test_nothing_has_no_quantile():
  assert _of([math.nan]).quantile(0.5) is None
  assert _of([]).to_dict() == {}


def test_episodes_add_up():
  values = np.random.default_rng(1).exponential(0.01, 300)
  one = _of(values[:100])
  one.merge(_of(values[100:]))
  assert one.to_dict() == _of(values).to_dict()
  assert one.worst == values.max()
  assert sum(json.loads(json.dumps(one.to_dict())).values()) == 300
