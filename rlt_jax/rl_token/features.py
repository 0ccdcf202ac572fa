"""What probes and statistics read of a frame: z_rl and the mean token."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import batching
from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.objective import encode
from rlt_jax.types import Array, Params


class Features(NamedTuple):
  """Features of F frames.

  z_rl: float32 [F, Z], raw.
  mean_token: float32 [F, D], over the visible image tokens.
  """

  z_rl: np.ndarray
  mean_token: np.ndarray


def measure(
  params: Params, parts: Iterable[tuple[Array, Array]], config: TokenConfig
) -> Features:
  """Returns the features of frames that come in parts.

  Args:
    params: 'encoder' and 'stats'.
    parts: tokens [B, N, D] and mask [B, N]; B never larger than in the first.
    config: of the token.
  """

  @jax.jit
  def run(params, tokens, mask):
    seen = mask[..., None]
    visible = jnp.where(seen, tokens.astype(jnp.float32), 0.0)
    mean = visible.sum(1) / jnp.maximum(seen.sum(1), 1)
    tokens = stats_lib.standardize(params['stats'], tokens, mask)
    return Features(encode(params, tokens, mask, config), mean)

  rows, found = 0, []
  for part in parts:
    rows = rows or len(part[0])
    found.append(
      batching.map_in_batches(
        lambda x: jax.tree.map(np.asarray, run(params, *x)), part, rows
      )
    )
  return Features(*map(np.concatenate, zip(*found, strict=True)))


def encode_all(
  params: Params, tokens: np.ndarray, mask: np.ndarray, config: TokenConfig
) -> np.ndarray:
  """Returns raw z_rl [F, Z] of cached tokens [F, N, D], in batches."""
  cuts = range(0, len(tokens), config.batch_size)
  parts = (
    (tokens[i : i + config.batch_size], mask[i : i + config.batch_size])
    for i in cuts
  )
  return measure(params, parts, config).z_rl
