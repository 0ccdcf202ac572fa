"""Resizes pictures as PIL's bilinear filter does, within a traced program."""

import functools

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array

_BITS = 22  # of a weight's fraction


def resize_with_pad(images: Array, side: int) -> Array:
  """Returns uint8 [..., side, side, 3] with the aspect kept, black around.

  Equal to PIL to the bit. Pictures of the right size are not touched.

  Args:
    images: uint8 [..., height, width, 3].
    side: pixels.
  """
  height, width = images.shape[-3:-1]
  if (height, width) == (side, side):
    return images
  ratio = max(height, width) / side
  new_height, new_width = int(height / ratio), int(width / ratio)
  x = images.astype(jnp.int32)
  # One axis after the other, rounded to levels in between, as PIL does.
  x = _resample(x, new_width, axis=x.ndim - 2)
  x = _resample(x, new_height, axis=x.ndim - 3)
  above, left = (side - new_height) // 2, (side - new_width) // 2
  pad = [(0, 0)] * (x.ndim - 3) + [
    (above, side - new_height - above),
    (left, side - new_width - left),
    (0, 0),
  ]
  return jnp.pad(x, pad).astype(jnp.uint8)


def _resample(x, new, axis):
  """Returns int32 levels with `new` pixels along an axis."""
  index, weights = _taps(x.shape[axis], new)
  shape = [1] * x.ndim
  shape[axis] = new
  total = jnp.full((), 1 << (_BITS - 1), jnp.int32)  # rounds half up
  for i, w in zip(index.T, weights.T, strict=True):
    total = total + jnp.take(x, i, axis=axis) * w.reshape(shape)
  return jnp.clip(total >> _BITS, 0, 255)


@functools.lru_cache
def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the old pixels of each new one and their weights, both [new, n].

  The weights are those of a triangle as wide as a new pixel, in PIL's units of
  2 ** -22, so that sums of integers equal its own.
  """
  scale = old / new
  width = max(scale, 1.0)
  center = (np.arange(new) + 0.5) * scale
  first = np.maximum((center - width + 0.5).astype(int), 0)
  end = np.minimum((center + width + 0.5).astype(int), old)
  index = first[:, None] + np.arange((end - first).max())
  distance = np.abs(index + 0.5 - center[:, None]) / width
  weights = np.where(index < end[:, None], np.maximum(1.0 - distance, 0.0), 0.0)
  weights /= weights.sum(1, keepdims=True)
  weights = np.floor(0.5 + weights * (1 << _BITS)).astype(np.int32)
  return np.minimum(index, old - 1), weights
