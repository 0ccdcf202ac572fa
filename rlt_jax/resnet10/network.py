"""The trunk of SERL's ResNet-10: a stem and four stages of one block each."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rlt_jax.types import Array

STRIDE = 32  # pixels of the image for one cell of the map
WIDTH = 512  # channels of the map
_STAGES = (64, 128, 256, 512)
_SMALL = 4  # cells a side of a map: so few are convolved by a product
# Of ImageNet, as in SERL; mean and deviation of each color.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet10(nn.Module):
  """Maps images to a map of features; group norm replaces batch norm."""

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Maps uint8 [B, S, S, 3] to float32 [B, S / 32, S / 32, 512]."""
    x = images.astype(jnp.float32) / 255.0
    x = (x - jnp.array(_MEAN)) / jnp.array(_STD)
    x = nn.Conv(64, (7, 7), strides=2, padding=3, use_bias=False, name='stem')(
      x
    )
    x = nn.relu(_norm('stem_norm')(x))
    x = nn.max_pool(x, (3, 3), strides=(2, 2), padding='SAME')
    for i, width in enumerate(_STAGES):
      x = _Block(width, stride=1 if i == 0 else 2, name=f'stage_{i}')(x)
    return x


class _Block(nn.Module):
  width: int
  stride: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    y = _Conv(self.width, 3, self.stride, name='conv_0')(x)
    y = nn.relu(_norm('norm_0')(y))
    y = _norm('norm_1')(_Conv(self.width, 3, name='conv_1')(y))
    if x.shape != y.shape:
      x = _Conv(self.width, 1, self.stride, name='conv_skip')(x)
      x = _norm('norm_skip')(x)
    return nn.relu(x + y)


class _Conv(nn.Module):
  """A convolution without bias, 'SAME' padding; as `nn.Conv`."""

  width: int
  size: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (self.size, self.size, x.shape[-1], self.width),
    )
    if x.shape[1] <= _SMALL:
      return _multiply(x, kernel, self.stride)
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (self.stride, self.stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )


def _multiply(x: Array, kernel: Array, stride: int) -> Array:
  """Returns the convolution [B, S', S', W] as one product of matrices.

  On a CPU, XLA's own convolution of a map of 2 by 2 takes a hundred times as
  long.
  """
  size, side = kernel.shape[0], x.shape[1]
  cells = -(-side // stride)
  missing = max((cells - 1) * stride + size - side, 0)
  ends = (missing // 2, missing - missing // 2)
  x = jnp.pad(x, ((0, 0), ends, ends, (0, 0)))
  last = (cells - 1) * stride + 1
  parts = [
    x[:, i : i + last : stride, j : j + last : stride]
    for i in range(size)
    for j in range(size)
  ]
  return jnp.concatenate(parts, -1) @ kernel.reshape(-1, kernel.shape[-1])


def _norm(name: str) -> nn.GroupNorm:
  return nn.GroupNorm(num_groups=4, epsilon=1e-5, name=name)
