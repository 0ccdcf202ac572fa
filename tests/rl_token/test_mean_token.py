"""The mean of the VLA's tokens, by hand."""

import jax
import numpy as np
import pytest

from rlt_jax.rl_token import mean_token
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.rl_token.token_record import TokenSpec

_STATS = {
  'token_mean': np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]),
  'token_std': np.array([1.0, 1.0, 2.0, 1.0]),
}


def _mean():
  """Returns the mean of two tokens of four entries."""
  config = TokenConfig(token_dim=4, num_image_tokens=2, width=8, num_heads=1)
  spec = TokenSpec(
    token_dim=4,
    num_image_tokens=2,
    z_dim=8,
    vla_fingerprint='vla-a',
    fingerprint='learned',
  )
  params = {'stats': _STATS}
  return mean_token.make(RlToken(spec=spec, config=config, params=params))


def _tokens():
  """Two image tokens and one of language, which is never read."""
  return np.array(
    [[[3.0, 0.0, 4.0, 0.0], [2.0, 2.0, 0.0, 0.0], [np.nan] * 4]], np.float32
  )


def test_the_mean_is_of_standardized_image_tokens():
  token = _mean()
  # Standardized: [2, 0, 2, 0] and [2, 0, 0, 0]; their mean is [2, 0, 1, 0].
  mean = np.array([2.0, 0.0, 1.0, 0.0])
  expected = (mean - mean.mean()) / mean.std()
  got = jax.jit(token.apply)(token.params, _tokens())
  np.testing.assert_allclose(got, expected[None], atol=1e-5)
  assert token.spec.z_dim == 4


def test_padding_does_not_count():
  token, tokens = _mean(), _tokens()
  mask = np.array([[True, False, True]])
  mean = np.array([2.0, 0.0, 2.0, 0.0])
  expected = (mean - mean.mean()) / mean.std()
  tokens[:, 1] = np.nan
  got = token.apply(token.params, tokens, mask)
  np.testing.assert_allclose(got, expected[None], atol=1e-5)
  none = token.apply(token.params, tokens, np.zeros((1, 3), bool))
  np.testing.assert_array_equal(none, np.zeros((1, 4)))


def test_it_is_of_the_same_parts_as_the_token():
  # All rows of a comparison must have the same VLA and token.
  assert _mean().spec.fingerprint == 'learned'


def test_tokens_of_another_width_are_refused():
  with pytest.raises(ValueError, match='Tokens must be 4 wide: 5'):
    _mean().apply({'stats': _STATS}, np.zeros((1, 2, 5)))
