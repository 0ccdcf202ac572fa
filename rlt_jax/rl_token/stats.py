"""Statistics that standardize VLA tokens and z_rl.

Each position is centered by its own mean and each of the D entries is divided
by one deviation, pooled over positions. A few huge entries then cannot
dominate the loss, which is therefore a loss on standardized embeddings; and
predicting zero is predicting the position's mean, so a fraction of variance
explained counts only what changes from frame to frame.
"""

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Params

_CHUNK = 256  # frames converted to float64 at once
_FLOOR = 1e-3  # of the median deviation: below it an entry counts as constant


def measure_tokens(
  tokens: np.ndarray, mask: np.ndarray
) -> dict[str, np.ndarray]:
  """Measures token_mean [N, D] and token_std [D], float32, on the host.

  Args:
    tokens: [F, N, D] of any float type.
    mask: bool [F, N]; False is left out. A position never seen has mean 0.
  """
  total = np.zeros(tokens.shape[1:])
  for part, seen in _chunks(tokens, mask):
    total += np.where(seen, part, 0.0).sum(0)
  count = mask.sum(0)
  mean = total / np.maximum(count, 1)[:, None]
  square = np.zeros(tokens.shape[2])
  for part, seen in _chunks(tokens, mask):
    square += np.square(np.where(seen, part - mean, 0.0)).sum((0, 1))
  std = np.sqrt(square / max(count.sum(), 1))
  if not np.isfinite(std).all() or not std.any():
    raise ValueError(
      'Tokens must be finite and must differ between frames: '
      f'deviations in [{std.min()}, {std.max()}].'
    )
  std = np.maximum(std, _FLOOR * np.median(std[std > 0]))
  return {
    'token_mean': mean.astype(np.float32),
    'token_std': std.astype(np.float32),
  }


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


def _chunks(tokens, mask):
  for i in range(0, len(tokens), _CHUNK):
    part = np.asarray(tokens[i : i + _CHUNK], np.float64)
    yield part, mask[i : i + _CHUNK, :, None]
