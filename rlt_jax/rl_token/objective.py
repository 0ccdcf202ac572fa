"""The Stage 1 objective L_ro(phi) + alpha * L_vla(theta), Eq. 2."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.decoder import Decoder, draw_context
from rlt_jax.rl_token.encoder import Encoder
from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas.vla import VlaHooks

Metrics = dict[str, Array]


class Batch(NamedTuple):
  """Frames of one step.

  data: image tokens [B, N, D], or with hooks whatever the hooks take.
  mask: bool [B, N], False is padding.
  """

  data: Any
  mask: Array


def encode(
  params: Params, tokens: Array, mask: Array, config: TokenConfig
) -> Array:
  """Returns raw z_rl [B, Z] of standardized tokens [B, N, D] (Eq. 1)."""
  return Encoder(config).apply({'params': params['encoder']}, tokens, mask)


def decode(
  params: Params,
  z_rl: Array,
  tokens: Array,
  mask: Array,
  keep: Array,
  config: TokenConfig,
) -> Array:
  """Returns predicted standardized tokens [B, N, D]; see `Decoder`."""
  return Decoder(config).apply(
    {'params': params['decoder']}, z_rl, tokens, mask, keep
  )


def reconstruction_loss(
  params: Params,
  stats: Params,
  batch: Batch,
  key: PRNGKey,
  config: TokenConfig,
) -> tuple[Array, Metrics]:
  """Returns L_ro [] of Eq. 2 and its fraction of variance explained.

  The error is squared, summed over D and averaged over visible positions, on
  standardized embeddings. No gradient reaches batch.data. `key` is consumed.
  """
  mask = batch.mask
  tokens = jax.lax.stop_gradient(batch.data)
  tokens = stats_lib.standardize(stats, tokens, mask)
  keep = draw_context(key, mask.shape, config)
  z_rl = encode(params, tokens, mask, config)
  predicted = decode(params, z_rl, tokens, mask, keep, config)
  count = jnp.maximum(mask.sum(), 1)
  loss = (jnp.square(predicted - tokens).sum(-1) * mask).sum() / count
  variance = jnp.square(tokens).sum() / count
  fve = 1.0 - loss / jnp.maximum(variance, 1e-12)
  return loss, {'reconstruction_loss': loss, 'fve': fve}


def objective(
  params: Params,
  vla_params: Params,
  stats: Params,
  batch: Batch,
  key: PRNGKey,
  *,
  config: TokenConfig,
  vla: VlaHooks | None,
) -> tuple[Array, Metrics]:
  """Returns L_ro(phi) + alpha * L_vla(theta) [] and metrics; `key` consumed."""
  context_key, vla_key = jax.random.split(key)
  if vla is None:
    return reconstruction_loss(params, stats, batch, context_key, config)
  tokens = vla.tokens(vla_params, batch.data)
  loss, metrics = reconstruction_loss(
    params, stats, batch._replace(data=tokens), context_key, config
  )
  vla_loss = vla.loss(vla_params, batch.data, vla_key)
  return loss + config.alpha * vla_loss, metrics | {'vla_loss': vla_loss}
