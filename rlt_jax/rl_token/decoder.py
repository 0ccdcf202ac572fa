"""The RL token decoder d_phi and the linear map h_phi, Eq. 2 of the paper."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.layers import block_class
from rlt_jax.types import Array, PRNGKey


class Decoder(nn.Module):
  """Predicts token i from z_rl and the true tokens before i.

  Slot 0 holds z_rl, slot i holds token i - 1, and the output of slot i is the
  prediction of token i, under a causal mask.
  """

  config: TokenConfig
  remat: bool = False  # see `block_class`

  @nn.compact
  def __call__(
    self, z_rl: Array, tokens: Array, mask: Array, keep: Array
  ) -> Array:
    """Returns predictions [B, N, D] of the standardized tokens.

    Args:
      z_rl: [B, Z] as the encoder gives it.
      tokens: [B, N, D] standardized teacher tokens; no gradient flows there.
      mask: bool [B, N], False is padding, never attended to.
      keep: bool [B, N], False puts the learned mask vector in the token's
        place. Its slot stays visible, so positions keep their meaning.
    """
    config = self.config
    tokens = jax.lax.stop_gradient(tokens)
    x = nn.Dense(config.z_dim, name='in_proj')(tokens[:, :-1])
    hidden = self.param('mask', nn.initializers.normal(0.02), (config.z_dim,))
    # A padded slot is no key, yet it still asks: it may not hold the padding.
    keep = keep & mask
    x = jnp.where(keep[:, :-1, None], x, hidden)
    x = jnp.concatenate([z_rl[:, None], x], axis=1)  # [B, N, Z]
    x = x + self.param(
      'positions',
      nn.initializers.normal(0.1),
      (config.num_image_tokens, config.z_dim),
    )
    seen = jnp.pad(mask[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    causal = jnp.tri(x.shape[1], dtype=bool)
    visible = causal[None] & seen[:, None]  # [B, N, N]
    block = block_class(self.remat)
    for i in range(config.num_layers):
      x = block(config.num_heads, config.mlp_ratio, name=f'block_{i}')(
        x, visible
      )
    x = nn.LayerNorm(name='out_norm')(x)
    return nn.Dense(config.token_dim, name='h_phi')(x)  # [B, N, D]


def draw_context(
  key: PRNGKey, shape: tuple[int, int], config: TokenConfig
) -> Array:
  """Draws which teacher tokens each row may see; `key` is consumed.

  A teacher-forced decoder can copy its context and ignore z_rl. Hiding most
  of the context closes that way; a share of rows keeps all of it so that Eq. 2
  as printed stays inside the training distribution.

  Returns:
    bool of `shape` [B, N], for the decoder's `keep`.
  """
  row_key, token_key = jax.random.split(key)
  full = jax.random.bernoulli(row_key, config.full_context_share, (shape[0], 1))
  kept = jax.random.bernoulli(token_key, 1.0 - config.context_dropout, shape)
  return full | kept
