"""From pixels to image tokens, before the prefix's transformer."""

import flax.linen as nn
import jax.numpy as jnp

from rlt_jax.types import Array
from rlt_jax.vlas.pi_small import layers
from rlt_jax.vlas.pi_small.config import PATCH


class Stem(nn.Module):
  """Patches of one camera, merged 4x4 to 8x8 to 16x16 pixels.

  Every step is one product over all pixels of its patch, so that the gray
  levels which carry sub-pixel positions all reach the token.
  """

  widths: tuple[int, int]
  out_width: int

  @nn.compact
  def __call__(self, image: Array) -> Array:
    """Maps [B, S, S, 3] in [0, 255] to [B, (S / 16)**2, out_width]."""
    x = image.astype(jnp.float32) / 127.5 - 1.0
    x = nn.gelu(nn.Dense(self.widths[0], name='pixels')(_merge(x, PATCH // 4)))
    x = nn.gelu(nn.Dense(self.widths[1], name='merge_0')(_merge(x, 2)))
    x = nn.Dense(self.out_width, name='merge_1')(_merge(x, 2))
    return x.reshape(x.shape[0], -1, self.out_width)


def _merge(x, side):
  """Joins side x side neighbors: [B, h, w, c] to [B, h/side, w/side, -1]."""
  B, h, w, c = x.shape
  x = x.reshape(B, h // side, side, w // side, side, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, h // side, w // side, -1)


class Summary(nn.Module):
  """Joint summary of all views, one vector for every image token.

  The position of an edge to a fraction of a pixel depends on many patches at
  fixed places. One matrix product over all of them can read it; attention,
  which averages, learns it slowly.
  """

  widths: tuple[int, int]

  @nn.compact
  def __call__(self, patches: Array) -> Array:
    """Maps [B, image tokens, D] to [B, 1, D], at first zero."""
    B, _, D = patches.shape
    x = nn.gelu(nn.Dense(self.widths[0], name='squeeze')(patches))
    x = nn.gelu(nn.Dense(self.widths[1], name='join')(x.reshape(B, 1, -1)))
    x = layers.RmsNorm(name='norm')(x)
    return nn.Dense(D, kernel_init=nn.initializers.zeros, name='out')(x)
