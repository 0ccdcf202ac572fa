"""Diagnostics of an RL token: reconstruction with and without it, probes.

A low reconstruction loss says little, since the decoder may copy its teacher
context. The gap between the frame's own token, another frame's and zeros says
how much of the reconstruction comes from the token.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import batching
from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.objective import decode, encode
from rlt_jax.types import Params, PRNGKey

_BATCH = 64  # frames per call


def diagnose(
  params: Params,
  tokens: np.ndarray,
  config: TokenConfig,
  key: PRNGKey,
  *,
  mask: np.ndarray | None = None,
) -> dict[str, float]:
  """Measures how much of the embeddings the token carries.

  FVE is the fraction of variance explained, 1 - error / variance, around each
  position's training mean, on standardized embeddings: 0 is as good as that
  mean, 1 is perfect, and worse than the mean is negative.

  Args:
    params: of `train.Trained`, with 'stats'.
    tokens: [F, N, D] image tokens the training did not see, F > 1.
    config: the token's.
    key: consumed (which other frame's token each frame gets).
    mask: bool [F, N], False is padding; None means that all are visible.

  Returns:
    fve_real, fve_shuffled (another frame's z_rl) and fve_zero (z_rl = 0), with
    the full teacher context; the same with suffix _no_context, where every
    teacher token is hidden; first_position_fve (real, position 1, which has
    no context anyway); token_cosine, the mean pairwise cosine of centered
    z_rl; effective_rank, the participation ratio of its covariance.
  """
  mask = _check(tokens, mask)
  encode_batch, errors_batch = _jitted(params, config)
  z_rl = _over_batches(encode_batch, tokens, mask)
  results = {}
  for suffix, context in (('', True), ('_no_context', False)):
    for case, z in _cases(z_rl, key).items():
      keep = np.full(mask.shape, context)
      sums = _over_batches(errors_batch, tokens, mask, z, keep)
      error, variance = sums.sum(0)  # Each [N].
      results[f'fve_{case}{suffix}'] = 1.0 - error.sum() / variance.sum()
      if case == 'real' and context:
        first = 1.0 - error[0] / max(variance[0], 1e-12)
  results['first_position_fve'] = first
  results |= token_spread(z_rl)
  return {name: float(value) for name, value in results.items()}


def explained(
  params: Params,
  tokens: np.ndarray,
  config: TokenConfig,
  key: PRNGKey,
  *,
  mask: np.ndarray | None = None,
) -> dict[str, float]:
  """Measures a token on frames of one task, to compare it with another token.

  FVE is of the embeddings as the VLA gives them, around the mean of each
  position over these frames. It depends on neither the token's statistics nor
  on what tells tasks apart, so that a token that several tasks share and one of
  each task have the same denominator.

  Args:
    params, tokens, config, key, mask: as for `diagnose`; of one task.

  Returns:
    fve_real, fve_shuffled and fve_zero, with all teacher tokens hidden;
    'shuffled' is the token of another frame of the task.
  """
  mask = _check(tokens, mask)
  encode_batch, _ = _jitted(params, config)
  raw_errors = _jitted_raw(params, config)
  z_rl = _over_batches(encode_batch, tokens, mask)
  seen = mask[..., None]
  plain = np.where(seen, np.asarray(tokens, np.float32), 0.0)
  mean = plain.sum(0) / np.maximum(seen.sum(0), 1)
  variance = np.square(np.where(seen, plain - mean, 0.0)).sum()
  keep, results = np.zeros(mask.shape, bool), {}
  for case, z in _cases(z_rl, key).items():
    errors = _over_batches(raw_errors, tokens, mask, z, keep)
    results[f'fve_{case}'] = float(1.0 - errors.sum() / variance)
  return results


def _check(tokens: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
  """Returns the mask; raises a ValueError for less than two frames."""
  if len(tokens) < 2:
    raise ValueError(f'Diagnostics need two frames or more: {len(tokens)}.')
  return np.ones(tokens.shape[:2], bool) if mask is None else mask


def _cases(z_rl: np.ndarray, key: PRNGKey) -> dict[str, np.ndarray]:
  """Returns the frames' own tokens, those of others, and zeros."""
  order = np.asarray(jax.random.permutation(key, len(z_rl)))
  shuffled = np.empty_like(z_rl)
  shuffled[order] = z_rl[np.roll(order, 1)]  # No frame keeps its own.
  return {'real': z_rl, 'shuffled': shuffled, 'zero': np.zeros_like(z_rl)}


def token_spread(z_rl: np.ndarray) -> dict[str, float]:
  """Returns token_cosine and effective_rank of raw or scaled z_rl [F, Z]."""
  centered = np.asarray(z_rl, np.float64) - np.mean(z_rl, 0, dtype=np.float64)
  norms = np.linalg.norm(centered, axis=1, keepdims=True)
  unit = centered / np.maximum(norms, 1e-12)
  frames = len(unit)
  # Sum of all pairs minus the diagonal, which is F unit vectors with itself.
  pairs = np.square(unit.sum(0)).sum() - np.square(unit).sum()
  spectrum = np.linalg.svd(centered, compute_uv=False) ** 2
  rank = spectrum.sum() ** 2 / max(np.square(spectrum).sum(), 1e-24)
  return {
    'token_cosine': float(pairs / (frames * (frames - 1))),
    'effective_rank': float(rank),
  }


def linear_probe(
  z_train: np.ndarray,
  y_train: np.ndarray,
  z_test: np.ndarray,
  y_test: np.ndarray,
  *,
  ridge: float = 1e-2,
) -> dict[str, np.ndarray]:
  """Fits ridge regression from features to targets and scores it.

  Args:
    z_train, z_test: features [F, Z]; scaled by the training rows.
    y_train, y_test: targets [F, T] in any unit.
    ridge: penalty per row, on unit-variance features.

  Returns:
    r2 [T] on the test rows (0: no better than their mean) and rmse [T] in the
    targets' units.
  """
  if len(z_train) != len(y_train) or len(z_test) != len(y_test):
    raise ValueError(
      'Features and targets need the same rows: '
      f'{len(z_train)}, {len(y_train)}; {len(z_test)}, {len(y_test)}.'
    )
  z_train, y_train, z_test, y_test = (
    np.asarray(x, np.float64) for x in (z_train, y_train, z_test, y_test)
  )
  mean, std = z_train.mean(0), np.maximum(z_train.std(0), 1e-9)
  x_train, x_test = (z_train - mean) / std, (z_test - mean) / std
  target_mean = y_train.mean(0)
  gram = x_train.T @ x_train + ridge * len(x_train) * np.eye(x_train.shape[1])
  weights = np.linalg.solve(gram, x_train.T @ (y_train - target_mean))
  error = y_test - target_mean - x_test @ weights
  variance = np.maximum(y_test.var(0), 1e-12)
  return {
    'r2': 1.0 - np.square(error).mean(0) / variance,
    'rmse': np.sqrt(np.square(error).mean(0)),
  }


def _jitted(params: Params, config: TokenConfig) -> tuple[Callable, Callable]:

  # An argument: as constants large weights would be part of the programs.
  @jax.jit
  def encode_batch(params, tokens, mask):
    tokens = stats_lib.standardize(params['stats'], tokens, mask)
    return encode(params, tokens, mask, config)

  @jax.jit
  def errors_batch(params, tokens, mask, z_rl, keep):
    tokens = stats_lib.standardize(params['stats'], tokens, mask)
    predicted = decode(params, z_rl, tokens, mask, keep, config)
    error = jnp.square(predicted - tokens).sum(-1) * mask
    return jnp.stack([error, jnp.square(tokens).sum(-1)], 1)  # [B, 2, N]

  return (
    functools.partial(encode_batch, params),
    functools.partial(errors_batch, params),
  )


def _jitted_raw(params: Params, config: TokenConfig) -> Callable:
  """Returns a function to the errors [B] in the embeddings' own scale."""

  @jax.jit
  def raw_errors(params, tokens, mask, z_rl, keep):
    stats = params['stats']
    tokens = stats_lib.standardize(stats, tokens, mask)
    predicted = decode(params, z_rl, tokens, mask, keep, config)
    error = (predicted - tokens) * stats['token_std'] * mask[..., None]
    return jnp.square(error).sum((-2, -1))

  return functools.partial(raw_errors, params)


def _over_batches(fn, *arrays):
  """Applies `fn` to equal batches, so that jit compiles once."""
  return batching.map_in_batches(
    lambda batch: np.asarray(fn(*batch)), arrays, _BATCH
  )
