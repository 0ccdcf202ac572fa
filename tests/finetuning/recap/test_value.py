"""The distribution over returns: bins, expectation, and what it learns."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.finetuning.recap import value
from rlt_jax.finetuning.recap.config import RecapConfig

_CONFIG = RecapConfig(value_steps=300, value_batch=64, value_units=32, bins=21)


def test_bins_and_their_mean_by_hand():
  # Centers at -1, -0.75, -0.5, -0.25, 0.
  found = value.bin_of(np.array([-1.0, -0.9, -0.8, -0.3, 0.0]), 5)
  np.testing.assert_array_equal(found, [0, 0, 1, 3, 4])
  logits = jnp.log(jnp.array([0.5, 1e-9, 1e-9, 1e-9, 0.5]))
  assert float(value.mean_of(logits)) == pytest.approx(-0.5, abs=1e-6)
  assert float(value.mean_of(jnp.zeros(5))) == pytest.approx(-0.5, abs=1e-6)


def test_ranks():
  assert value.rank(np.array([1, 2, 3]), np.array([10, 20, 90])) == 1.0
  assert value.rank(np.array([3, 2, 1]), np.array([10, 20, 90])) == -1.0
  assert value.rank(np.ones(3), np.array([10, 20, 90])) == 0.0


def _episodes(informative):
  rng = np.random.default_rng(0)
  episode = np.repeat(np.arange(40), 10)
  wanted = -rng.uniform(0.0, 0.9, 40)[episode] - 0.01 * np.tile(range(10), 40)
  seen = wanted if informative else rng.normal(size=len(episode))
  inputs = np.stack([seen, rng.normal(size=len(episode))], axis=1)
  return inputs, wanted, episode


def test_it_learns_what_the_inputs_tell_and_no_more():
  inputs, wanted, episode = _episodes(informative=True)
  fitted = value.fit(inputs, wanted, episode, _CONFIG, seed=0)
  assert fitted.rank > 0.9
  assert np.abs(fitted.values - wanted).mean() < 0.06
  blind = value.fit(*_episodes(informative=False), _CONFIG, seed=0)
  assert blind.rank < 0.5
  again = value.fit(inputs, wanted, episode, _CONFIG, seed=0)
  np.testing.assert_array_equal(fitted.values, again.values)
