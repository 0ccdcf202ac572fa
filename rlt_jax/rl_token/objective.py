"""The Stage 1 objective L_ro(phi) + alpha * L_vla(theta), Eq. 2."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import StepConfig, TokenConfig
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
  params: Params,
  tokens: Array,
  mask: Array,
  config: TokenConfig,
  *,
  remat: bool = False,
) -> Array:
  """Returns raw z_rl [B, Z] of standardized tokens [B, N, D] (Eq. 1)."""
  return Encoder(config, remat).apply(
    {'params': params['encoder']}, tokens, mask
  )


def decode(
  params: Params,
  z_rl: Array,
  tokens: Array,
  mask: Array,
  keep: Array,
  config: TokenConfig,
  *,
  remat: bool = False,
) -> Array:
  """Returns predicted standardized tokens [B, N, D]; see `Decoder`."""
  return Decoder(config, remat).apply(
    {'params': params['decoder']}, z_rl, tokens, mask, keep
  )


class _Part(NamedTuple):
  """Rows of a batch, and what they share with the rest of it.

  keep: bool [b, N], see `Decoder`. count: visible tokens of the whole batch.
  share: of the batch's rows. key: for the VLA's loss.
  """

  batch: Batch
  keep: Array
  count: Array
  share: float
  key: PRNGKey


def objective(
  params: Params,
  vla_params: Params,
  stats: Params,
  batch: Batch,
  key: PRNGKey,
  *,
  config: TokenConfig,
  vla: VlaHooks | None,
  remat: bool = False,
) -> tuple[Array, Metrics]:
  """Returns L_ro(phi) + alpha * L_vla(theta) [] and metrics; `key` consumed.

  L_ro is Eq. 2: the error squared, summed over D and averaged over visible
  positions, on standardized embeddings. No gradient of it reaches the VLA.
  """
  part = _whole(batch, key, config)
  loss, sums = _part_objective(
    params, vla_params, stats, part, config=config, vla=vla, remat=remat
  )
  return loss, _to_metrics(sums)


def gradients(
  params: Params,
  vla_params: Params,
  stats: Params,
  batch: Batch,
  key: PRNGKey,
  *,
  config: TokenConfig,
  vla: VlaHooks | None,
  step: StepConfig,
) -> tuple[tuple[Params, Params], Metrics]:
  """Returns gradients of `objective`, for params and vla_params, and metrics.

  With `step.accumulate` above 1 the batch is taken in as many parts, and their
  gradients are summed. The sum is that of the whole batch: all parts divide by
  the visible tokens of the batch. Only the noise of L_vla is another.
  """
  gradient = jax.grad(
    lambda params, vla_params, part: _part_objective(
      params, vla_params, stats, part, config=config, vla=vla, remat=step.remat
    ),
    argnums=(0, 1),
    has_aux=True,
  )
  whole, parts = _whole(batch, key, config), step.accumulate
  if parts == 1:
    grads, sums = gradient(params, vla_params, whole)
    return grads, _to_metrics(sums)

  def split(x):
    # Rows of one device stay there: every part takes some of each device's.
    return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

  def one(index, rows):
    return gradient(
      params,
      vla_params,
      whole._replace(
        batch=rows[0],
        keep=rows[1],
        share=1.0 / parts,
        key=jax.random.fold_in(whole.key, index),
      ),
    )

  def add(total, xs):
    return jax.tree.map(jnp.add, total, one(*xs)), None

  rows = jax.tree.map(split, (whole.batch, whole.keep))
  first = jax.eval_shape(one, 0, jax.tree.map(lambda x: x[0], rows))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
  (grads, sums), _ = jax.lax.scan(add, zeros, (jnp.arange(parts), rows))
  return grads, _to_metrics(sums)


def _whole(batch: Batch, key: PRNGKey, config: TokenConfig) -> _Part:
  context_key, vla_key = jax.random.split(key)
  keep = draw_context(context_key, batch.mask.shape, config)
  return _Part(batch, keep, jnp.maximum(batch.mask.sum(), 1), 1.0, vla_key)


def _part_objective(params, vla_params, stats, part, *, config, vla, remat):
  """Returns a part's share of the objective, and of the sums of metrics."""
  data, mask = part.batch
  tokens = data if vla is None else vla.tokens(vla_params, data)
  tokens = jax.lax.stop_gradient(tokens)
  tokens = stats_lib.standardize(stats, tokens, mask)
  z_rl = encode(params, tokens, mask, config, remat=remat)
  predicted = decode(params, z_rl, tokens, mask, part.keep, config, remat=remat)
  error = jnp.square(predicted - tokens).sum(-1) * mask
  loss = error.sum() / part.count
  sums = {
    'reconstruction_loss': loss,
    'variance': jnp.square(tokens).sum() / part.count,
  }
  if vla is None:
    return loss, sums
  vla_loss = part.share * vla.loss(vla_params, data, part.key)
  return loss + config.alpha * vla_loss, sums | {'vla_loss': vla_loss}


def _to_metrics(sums: Metrics) -> Metrics:
  loss, variance = sums['reconstruction_loss'], sums['variance']
  rest = {name: x for name, x in sums.items() if name != 'variance'}
  return rest | {'fve': 1.0 - loss / jnp.maximum(variance, 1e-12)}
