"""The RL token encoder g_phi, Eq. 1 of the paper."""

import flax.linen as nn
import jax.numpy as jnp

from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.layers import block_class
from rlt_jax.types import Array


class Encoder(nn.Module):
  """Reads standardized image tokens, answers at a learned query slot.

  The paper leaves the inside of g_phi open. Here: a linear map to the width,
  learned positions, pre-norm blocks, a final LayerNorm.
  """

  config: TokenConfig
  remat: bool = False  # see `block_class`

  @nn.compact
  def __call__(self, tokens: Array, mask: Array) -> Array:
    """Maps [B, N, D] and bool [B, N] (False is padding) to z_rl [B, Z].

    Args:
      tokens: [B, N, D] standardized image tokens, N = num_image_tokens.
      mask: bool [B, N]; what a False slot holds never reaches z_rl.
    """
    config = self.config
    x = nn.Dense(config.z_dim, name='in_proj')(tokens)  # [B, N, Z]
    query = self.param('query', nn.initializers.normal(0.02), (config.z_dim,))
    query = jnp.broadcast_to(query, (x.shape[0], 1, config.z_dim))
    x = jnp.concatenate([x, query], axis=1)  # [B, N+1, Z]
    x = x + self.param(
      'positions',
      nn.initializers.normal(0.1),
      (config.num_image_tokens + 1, config.z_dim),
    )
    # The query slot stays visible: an all-padding row has to give a z_rl.
    mask = jnp.pad(mask, ((0, 0), (0, 1)), constant_values=True)  # [B, N+1]
    block = block_class(self.remat)
    for i in range(config.num_layers):
      x = block(
        config.num_heads,
        config.mlp_ratio,
        last_only=i == config.num_layers - 1,
        name=f'block_{i}',
      )(x, mask[:, None])
    return nn.LayerNorm(name='out_norm')(x)[:, -1]  # [B, Z]
