"""Stage 1: trains encoder and decoder on demonstration embeddings, Eq. 2."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import batching
from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.decoder import Decoder
from rlt_jax.rl_token.encoder import Encoder
from rlt_jax.rl_token.objective import Batch, encode, Metrics, objective
from rlt_jax.types import Params, PRNGKey
from rlt_jax.vlas.vla import VlaHooks

_LOG_EVERY = 100  # steps


@chex.dataclass(frozen=True)
class TokenState:
  """Everything one step changes, and the statistics it does not.

  vla_params and vla_opt_state are None when alpha is 0.
  """

  params: Params
  opt_state: optax.OptState
  stats: Params
  vla_params: Params
  vla_opt_state: optax.OptState


class Trained(NamedTuple):
  """What `train_token` returns.

  params: 'encoder', 'decoder' (float16 values held in float32, so that saving
    changes nothing) and 'stats' (token_mean, token_std, z_mean, z_std).
  vla_params: the VLA after joint training; None when alpha is 0.
  history: one dict of floats per logged step.
  """

  params: Params
  vla_params: Params
  history: list[dict[str, float]]


def init_state(
  key: PRNGKey,
  stats: Params,
  *,
  config: TokenConfig,
  vla: VlaHooks | None = None,
) -> TokenState:
  """Initializes encoder, decoder and optimizers; `key` is consumed."""
  encoder_key, decoder_key = jax.random.split(key)
  tokens = jnp.zeros((1, config.num_image_tokens, config.token_dim))
  mask = jnp.ones(tokens.shape[:2], bool)
  z_rl = jnp.zeros((1, config.z_dim))
  # Jitted, as an eager init compiles each of its small operations apart.
  encoder = jax.jit(Encoder(config).init)(encoder_key, tokens, mask)
  decoder = jax.jit(Decoder(config).init)(decoder_key, z_rl, tokens, mask, mask)
  params = {'encoder': encoder['params'], 'decoder': decoder['params']}
  token_optimizer, vla_optimizer = _make_optimizers(config)
  return TokenState(
    params=params,
    opt_state=token_optimizer.init(params),
    stats=stats,
    # A copy, as the step donates its state and the caller keeps the hooks.
    vla_params=None if vla is None else jax.tree.map(jnp.array, vla.params),
    vla_opt_state=None if vla is None else vla_optimizer.init(vla.params),
  )


def train_step(
  state: TokenState,
  batch: Batch,
  key: PRNGKey,
  *,
  config: TokenConfig,
  vla: VlaHooks | None = None,
) -> tuple[TokenState, Metrics]:
  """Takes one step on the token, and with alpha > 0 one on the VLA.

  Args:
    state: donate it when jitting.
    batch: B frames.
    key: consumed.
    config, vla: static.
  """
  token_optimizer, vla_optimizer = _make_optimizers(config)
  (_, metrics), (grads, vla_grads) = jax.value_and_grad(
    objective, argnums=(0, 1), has_aux=True
  )(
    state.params,
    state.vla_params,
    state.stats,
    batch,
    key,
    config=config,
    vla=vla,
  )
  updates, opt_state = token_optimizer.update(
    grads, state.opt_state, state.params
  )
  state = state.replace(
    params=optax.apply_updates(state.params, updates), opt_state=opt_state
  )
  if vla is not None:
    updates, opt_state = vla_optimizer.update(vla_grads, state.vla_opt_state)
    state = state.replace(
      vla_params=optax.apply_updates(state.vla_params, updates),
      vla_opt_state=opt_state,
    )
  return state, metrics | {'grad_norm': optax.tree.norm(grads)}


def train_token(
  key: PRNGKey,
  source: Any,
  config: TokenConfig,
  *,
  mask: np.ndarray | None = None,
  vla: VlaHooks | None = None,
  log: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
  """Trains an RL token on demonstration frames.

  Args:
    key: consumed.
    source: host arrays with a leading [F]. With alpha 0 the cached image
      tokens, float [F, N, D]; otherwise the data that `vla` takes.
    config: sizes and schedule.
    mask: bool [F, N], False is padding; None means that all are visible.
    vla: hooks for joint training, given if and only if alpha > 0. The
      statistics are those of the VLA before training.
    log: called with each entry of the history.

  Raises:
    ValueError: source, mask or hooks do not fit the config.
  """
  mask = _check_source(source, config, mask, vla)
  init_key, index_key, step_key = jax.random.split(key, 3)
  tokens = source if vla is None else _run_vla(vla, vla.params, source, config)
  stats = stats_lib.measure_tokens(tokens, mask)
  state = init_state(init_key, stats, config=config, vla=vla)

  def run_step(state, batch, step):
    step_rng = jax.random.fold_in(step_key, step)
    return train_step(state, batch, step_rng, config=config, vla=vla)

  run_step = jax.jit(run_step, donate_argnums=0)
  rows = np.asarray(
    jax.random.randint(
      index_key, (config.steps, config.batch_size), 0, len(mask)
    )
  )
  history = []
  for step, index in enumerate(rows):
    batch = Batch(_take(source, index), mask[index])
    state, metrics = run_step(state, batch, step)
    if step % _LOG_EVERY == 0 or step == config.steps - 1:
      row = {name: float(value) for name, value in metrics.items()}
      history.append({'step': step} | row)
      if log is not None:
        log(history[-1])
  if vla is not None:
    tokens = _run_vla(vla, state.vla_params, source, config)
  params = _finish(state.params, stats, tokens, mask, config)
  return Trained(params, state.vla_params, history)


def encode_all(
  params: Params, tokens: np.ndarray, mask: np.ndarray, config: TokenConfig
) -> np.ndarray:
  """Returns raw z_rl [F, Z] of cached tokens [F, N, D], in batches."""

  @jax.jit
  def run(tokens, mask):
    tokens = stats_lib.standardize(params['stats'], tokens, mask)
    return encode(params, tokens, mask, config)

  return batching.map_in_batches(
    lambda batch: np.asarray(run(*batch)), (tokens, mask), config.batch_size
  )


def _make_optimizers(config):
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, config.learning_rate, config.warmup_steps, config.steps
  )
  vla_schedule = optax.warmup_cosine_decay_schedule(
    0.0, config.vla_learning_rate, config.warmup_steps, config.steps
  )
  return (
    optax.chain(
      optax.clip_by_global_norm(config.clip_norm),
      optax.adamw(schedule, weight_decay=config.weight_decay),
    ),
    optax.chain(
      optax.clip_by_global_norm(config.vla_clip_norm), optax.adam(vla_schedule)
    ),
  )


def _check_source(source, config, mask, vla):
  if (config.alpha > 0.0) != (vla is not None):
    raise ValueError(
      'VLA hooks must be given if and only if alpha > 0: '
      f'alpha {config.alpha}, hooks {"given" if vla else "missing"}.'
    )
  lengths = {len(x) for x in jax.tree.leaves(source)}
  if len(lengths) != 1 or 0 in lengths:
    raise ValueError(f'All leaves need the same F > 0 frames: {lengths}.')
  shape = (lengths.pop(), config.num_image_tokens, config.token_dim)
  if vla is None and source.shape != shape:
    raise ValueError(f'Tokens must be [F, N, D] = {shape}: {source.shape}.')
  mask = np.ones(shape[:2], bool) if mask is None else np.asarray(mask, bool)
  if mask.shape != shape[:2]:
    raise ValueError(f'mask must be [F, N] = {shape[:2]}: {mask.shape}.')
  return mask


def _run_vla(vla, vla_params, source, config):
  run = jax.jit(vla.tokens)
  return batching.map_in_batches(
    lambda batch: np.asarray(run(vla_params, batch)), source, config.batch_size
  )


def _finish(params, stats, tokens, mask, config):
  """Rounds weights to float16 values, then measures z_rl with those."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float16), params)
  if not all(np.isfinite(x).all() for x in jax.tree.leaves(params)):
    raise ValueError('Weights must be finite in float16; training diverged.')
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  params = params | {'stats': dict(stats)}
  z_rl = encode_all(params, tokens, mask, config)
  stats = stats | stats_lib.measure_z(z_rl)
  return params | {'stats': jax.tree.map(jnp.asarray, stats)}


def _take(source, index):
  return jax.tree.map(lambda x: x[index], source)
