import numpy as np
import pytest

from rlt_jax.rl_token import stats


def _tokens():
  rng = np.random.default_rng(0)
  tokens = rng.normal(size=(300, 4, 3)) * np.array([1.0, 500.0, 1e-2])
  tokens += 20.0 * np.arange(4)[:, None]
  mask = np.ones((300, 4), bool)
  mask[:100, 3] = False
  tokens[:100, 3] = np.nan
  return tokens.astype(np.float32), mask


def test_huge_entries_and_position_means_are_leveled():
  tokens, mask = _tokens()
  out = np.asarray(
    stats.standardize(stats.measure_tokens(tokens, mask), tokens, mask)
  )
  for n in range(4):
    np.testing.assert_allclose(out[mask[:, n], n].mean(0), 0.0, atol=2e-3)
    np.testing.assert_allclose(out[mask[:, n], n].std(0), 1.0, atol=0.15)


def test_padding_is_zero_even_where_it_holds_nan():
  tokens, mask = _tokens()
  out = stats.standardize(stats.measure_tokens(tokens, mask), tokens, mask)
  np.testing.assert_array_equal(np.asarray(out)[~mask], 0.0)


def test_constant_entries_stay_finite():
  tokens, mask = _tokens()
  tokens[..., 0] = 3.0
  out = stats.standardize(stats.measure_tokens(tokens, mask), tokens, mask)
  np.testing.assert_array_equal(np.asarray(out)[..., 0][mask], 0.0)


def test_frames_that_never_differ_are_refused():
  with pytest.raises(ValueError, match='must differ between frames'):
    stats.measure_tokens(np.ones((5, 2, 3)), np.ones((5, 2), bool))
