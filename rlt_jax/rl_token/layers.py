"""The pre-norm transformer block that encoder and decoder share."""

import flax.linen as nn
import jax

from rlt_jax.types import Array


class Block(nn.Module):
  """Self-attention and MLP, both pre-norm with residuals.

  num_heads: heads, dividing the input width.
  mlp_ratio: hidden MLP units per unit of width.
  last_only: computes the output of the last slot alone, as a cheaper way to
    the same numbers when the other outputs are not read.
  """

  num_heads: int
  mlp_ratio: int
  last_only: bool = False

  @nn.compact
  def __call__(self, x: Array, visible: Array) -> Array:
    """Maps [B, n, width] to the same, or to [B, 1, width] with `last_only`.

    Args:
      x: [B, n, width] slots.
      visible: bool, broadcasts to [B, query slot, key slot]; each query must
        see one key or more.
    """
    width = x.shape[-1]
    heads = (self.num_heads, width // self.num_heads)
    y = nn.LayerNorm(name='attention_norm')(x)
    if self.last_only:
      x, visible = x[:, -1:], visible[:, -1:]
    query = nn.DenseGeneral(heads, name='query')(y[:, -x.shape[1] :])
    key = nn.DenseGeneral(heads, name='key')(y)
    value = nn.DenseGeneral(heads, name='value')(y)
    y = jax.nn.dot_product_attention(
      query, key, value, mask=visible[:, None]
    )  # [B, n, heads, width / heads]
    x = x + nn.DenseGeneral(width, axis=(-2, -1), name='attention_out')(y)
    y = nn.LayerNorm(name='mlp_norm')(x)
    y = nn.gelu(nn.Dense(self.mlp_ratio * width, name='mlp_in')(y))
    return x + nn.Dense(width, name='mlp_out')(y)


def block_class(remat: bool) -> type[Block]:
  """Returns `Block`, or with `remat` one that keeps no activations.

  Its backward pass computes them again from its input, for a third more
  arithmetic. The parameters are the same.
  """
  return nn.remat(Block) if remat else Block
