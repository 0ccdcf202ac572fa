"""The mean of the VLA's tokens in place of the RL token.

A control: what the learned query of Eq. 1 adds to an average over tokens.
"""

import dataclasses

import jax.numpy as jnp

from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.types import Array, Params

_EPSILON = 1e-6


class MeanToken(RlToken):
  """Averages the tokens that the RL token reads, standardized as for it."""

  def apply(
    self, params: Params, vla_tokens: Array, mask: Array | None = None
  ) -> Array:
    """Returns the mean [B, D], with mean 0 and deviation 1 over its entries.

    The scale is that of the RL token; what is lost is one number, the size of
    the mean.

    Args:
      params: of the RL token; its `stats` are read.
      vla_tokens: [B, N, D], as `RlToken.apply`.
      mask: bool [B, N], False is left out; None means that all are visible.
    """
    tokens, mask = self.read(vla_tokens, mask)
    tokens = stats_lib.standardize(params['stats'], tokens, mask)
    weight = mask[..., None] / jnp.maximum(mask.sum(1), 1)[:, None, None]
    mean = (tokens * weight).sum(1)
    mean -= mean.mean(-1, keepdims=True)
    return mean / (mean.std(-1, keepdims=True) + _EPSILON)


def make(token: RlToken) -> MeanToken:
  """Returns the mean of the tokens that `token` reads; its width is D.

  Its fingerprint is that of `token`, whose weights and statistics it comes
  with.
  """
  config = dataclasses.replace(token.config, width=None)
  spec = dataclasses.replace(token.spec, z_dim=config.z_dim)
  return MeanToken(spec=spec, config=config, params=token.params)
