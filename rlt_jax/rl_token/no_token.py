"""Stands in for the RL token of a VLA that has none yet.

The VLA alone needs no token, nor does practice whose token is replaced.
"""

import jax.numpy as jnp

from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.rl_token.token_record import TokenSpec
from rlt_jax.types import Array, Params
from rlt_jax.vlas.vla import VlaSpec


class NoToken(RlToken):
  """Zeros, as wide as the tokens of the VLA."""

  def apply(
    self, params: Params, vla_tokens: Array, mask: Array | None = None
  ) -> Array:
    """Returns zeros [B, Z]."""
    return jnp.zeros((vla_tokens.shape[0], self.spec.z_dim))


def make(vla: VlaSpec) -> NoToken:
  """Returns the token of a VLA that has none."""
  config = TokenConfig(
    token_dim=vla.token_dim, num_image_tokens=vla.num_tokens, num_heads=1
  )
  spec = TokenSpec(
    token_dim=config.token_dim,
    num_image_tokens=config.num_image_tokens,
    z_dim=config.z_dim,
    vla_fingerprint=vla.fingerprint,
    fingerprint='none',
  )
  return NoToken(spec=spec, config=config, params={})
