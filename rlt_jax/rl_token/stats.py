"""Statistics that standardize VLA tokens and z_rl.

Each position is centered by its own mean and each of the D entries is divided
by one deviation, pooled over positions. A few huge entries then cannot
dominate the loss, which is therefore a loss on standardized embeddings; and
predicting zero is predicting the position's mean, so a fraction of variance
explained counts only what changes from frame to frame.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Params

_CHUNK = 32  # frames at once, of those in memory
_FLOOR = 1e-3  # of the median deviation: below it an entry counts as constant


class TokenMoments:
  """Measures token_mean [N, D] and token_std [D], some frames at a time."""

  def __init__(self):
    self._rows, self._shift = 0, None
    self._count = self._mean = self._square = None

  def add(self, tokens: Array, mask: Array) -> None:
    """Counts frames in.

    Args:
      tokens: [B, N, D] of any float type; B never larger than in the first
        call.
      mask: bool [B, N]; False is left out.
    """
    if self._shift is None:
      self._rows = len(tokens)
      # Of one frame, so that entries that never differ have no deviation.
      self._shift = _without_padding(tokens[:1], mask[:1])[0]
      self._count = np.zeros(tokens.shape[1])
      self._mean = np.zeros(tokens.shape[1:])
      self._square = np.zeros(tokens.shape[1:])
    missing = self._rows - len(tokens)
    if missing:  # the last frames; of the same size nothing compiles again
      tokens = jnp.pad(tokens, ((0, missing), (0, 0), (0, 0)))
      mask = jnp.pad(mask, ((0, missing), (0, 0)))
    moments = _measure_part(tokens, mask, self._shift)
    count, mean, square = (np.asarray(x, np.float64) for x in moments)
    total = self._count + count
    share = (count / np.maximum(total, 1))[:, None]
    delta = mean - self._mean
    self._square += square + delta**2 * share * self._count[:, None]
    self._mean += delta * share
    self._count = total

  def result(self) -> dict[str, np.ndarray]:
    """Returns the statistics, float32. A position never seen has mean 0.

    Raises:
      ValueError: tokens that are not finite, or never differ.
    """
    square, count = self._square.sum(0), self._count.sum()
    std = np.sqrt(square / max(count, 1))
    if not np.isfinite(std).all() or not std.any():
      raise ValueError(
        'Tokens must be finite and must differ between frames: '
        f'deviations in [{std.min()}, {std.max()}].'
      )
    std = np.maximum(std, _FLOOR * np.median(std[std > 0]))
    mean = np.where(
      self._count[:, None] > 0, self._mean + np.asarray(self._shift), 0.0
    )
    return {
      'token_mean': mean.astype(np.float32),
      'token_std': std.astype(np.float32),
    }


def measure_tokens(
  tokens: np.ndarray, mask: np.ndarray
) -> dict[str, np.ndarray]:
  """Measures token_mean [N, D] and token_std [D], float32, of frames in memory.

  Args:
    tokens: [F, N, D] of any float type.
    mask: bool [F, N]; False is left out. A position never seen has mean 0.
  """
  moments = TokenMoments()
  for i in range(0, len(tokens), _CHUNK):
    moments.add(tokens[i : i + _CHUNK], mask[i : i + _CHUNK])
  return moments.result()


def measure_z(z_rl: np.ndarray) -> dict[str, np.ndarray]:
  """Measures z_mean [Z] and z_std [Z], float32, of raw tokens [F, Z]."""
  z_rl = np.asarray(z_rl, np.float64)
  std = z_rl.std(0)
  if not std.any():
    raise ValueError(f'z_rl must differ between frames: {z_rl[:1]}.')
  std = np.maximum(std, _FLOOR * np.median(std[std > 0]))
  return {
    'z_mean': z_rl.mean(0).astype(np.float32),
    'z_std': std.astype(np.float32),
  }


def standardize(stats: Params, tokens: Array, mask: Array) -> Array:
  """Returns standardized float32 tokens [B, N, D], zero where padding."""
  tokens = tokens.astype(jnp.float32)
  tokens = (tokens - stats['token_mean']) / stats['token_std']
  # A select, not a product: padding may hold anything, NaN included.
  return jnp.where(mask[..., None], tokens, 0.0)


def _without_padding(tokens: Array, mask: Array) -> Array:
  """Returns float32 tokens, zero where padding."""
  return jnp.where(mask[..., None], jnp.asarray(tokens, jnp.float32), 0.0)


@jax.jit
def _measure_part(tokens, mask, shift):
  """Returns count [N], and of tokens - shift the mean and square sum [N, D]."""
  seen = mask[..., None]
  tokens = jnp.where(seen, tokens.astype(jnp.float32) - shift, 0.0)
  count = mask.sum(0)
  mean = tokens.sum(0) / jnp.maximum(count, 1)[:, None]
  square = jnp.square(jnp.where(seen, tokens - mean, 0.0)).sum(0)
  return count, mean, square
