"""Stage 1: trains encoder and decoder on demonstration embeddings, Eq. 2."""

from collections.abc import Callable, Mapping
import contextlib
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np
import optax

from rlt_jax import sharding, signals
from rlt_jax.rl_token import features
from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import StepConfig, TokenConfig
from rlt_jax.rl_token.decoder import Decoder
from rlt_jax.rl_token.encoder import Encoder
from rlt_jax.rl_token.features import Features
from rlt_jax.rl_token.objective import Batch, gradients, Metrics
from rlt_jax.rl_token.token_data import ArrayData, TokenData
from rlt_jax.sitting import Sitting
from rlt_jax.types import Params, PRNGKey
from rlt_jax.vlas import step_loop
from rlt_jax.vlas.vla import VlaHooks

_LOG_EVERY = 100  # steps
_SAVE_EVERY_S = 120.0  # a killed training repeats no more
_WHOLE = StepConfig()


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
  history: one dict of floats per logged step of this sitting.
  train_s: wall clock of all sittings.
  sample: features of the frames of `TokenData.sample`, in order.
  """

  params: Params
  vla_params: Params
  history: list[dict[str, float]]
  train_s: float
  sample: Features


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
  step: StepConfig = _WHOLE,
) -> tuple[TokenState, Metrics]:
  """Takes one step on the token, and with alpha > 0 one on the VLA.

  Args:
    state: donate it when jitting.
    batch: B frames.
    key: consumed.
    config, vla, step: static.
  """
  token_optimizer, vla_optimizer = _make_optimizers(config)
  (grads, vla_grads), metrics = gradients(
    state.params,
    state.vla_params,
    state.stats,
    batch,
    key,
    config=config,
    vla=vla,
    step=step,
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
  source: TokenData | Any,
  config: TokenConfig,
  *,
  mask: np.ndarray | None = None,
  vla: VlaHooks | None = None,
  step: StepConfig = _WHOLE,
  mesh: Mesh | None = None,
  sitting: Sitting | None = None,
  settings: Mapping[str, Any] | None = None,
) -> Trained:
  """Trains an RL token on demonstration frames.

  Args:
    key: consumed.
    source: the data, or host arrays as `ArrayData` takes them.
    config: sizes and schedule.
    mask: of arrays: bool [F, N], False is padding; None means all are visible.
    vla: hooks for joint training, given if and only if alpha > 0. The
      statistics are those of the VLA before training.
    step: how a step is computed.
    mesh: of devices that share each batch; None takes one device.
    sitting: keeps the state, so that a training that was interrupted ends as an
      unbroken one; None keeps nothing.
    settings: for `Sitting.restore`.

  Raises:
    ValueError: source, mask or hooks do not fit the config.
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  init_key, order_key, step_key = jax.random.split(key, 3)
  sitting, data = sitting or Sitting(), source
  if not isinstance(data, TokenData):
    seed = int(jax.random.bits(order_key))
    data = ArrayData(source, config, mask=mask, vla=vla, seed=seed)
  # A state that is restored has its own.
  shape = (config.num_image_tokens, config.token_dim)
  stats = {'token_mean': np.zeros(shape, np.float32)}
  stats['token_std'] = np.ones(shape[1:], np.float32)
  if not sitting.resumed:
    stats = signals.call(measure_tokens, data)
  state = signals.call(init_state, init_key, stats, config=config, vla=vla)

  def run_step(state, batch, number):
    step_rng = jax.random.fold_in(step_key, number)
    return train_step(state, batch, step_rng, config=config, vla=vla, step=step)

  state, history, train_s = _run_steps(
    jax.jit(run_step, donate_argnums=0),
    state,
    data,
    config,
    sitting,
    settings or {},
    mesh,
  )
  params, found = signals.call(_finish, state, data, config)
  return Trained(params, state.vla_params, history, train_s, found)


def _run_steps(
  run_step: Callable[[TokenState, Batch, int], tuple[TokenState, Metrics]],
  state: TokenState,
  data: TokenData,
  config: TokenConfig,
  sitting: Sitting,
  settings: Mapping[str, Any],
  mesh: Mesh | None,
) -> tuple[TokenState, list[dict[str, float]], float]:
  """Returns the state after all steps, logged metrics, and seconds."""
  kept = {'token': state, 'step': 0, 'elapsed_s': 0.0}
  kept = dict(sitting.restore(kept, settings))
  if mesh is not None:
    kept['token'] = sharding.replicate(kept['token'], mesh)
  first = int(kept['step'])
  with contextlib.closing(data.batches(first)) as batches:

    def take_step(state, step, call):
      batch = next(batches)
      batch = batch if mesh is None else sharding.shard(batch, mesh)
      if step == first:
        return call(run_step, state, batch, step)  # it compiles
      return run_step(state, batch, step)

    return step_loop.run(
      take_step,
      kept,
      'token',
      config.steps,
      sitting=sitting,
      log_every=_LOG_EVERY,
      save_every_s=_SAVE_EVERY_S,
    )


def measure_tokens(data: TokenData) -> Params:
  """Returns token_mean and token_std of the data's sample."""
  moments = stats_lib.TokenMoments()
  for tokens, mask in data.sample():
    moments.add(tokens, mask)
  return moments.result()


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


def _finish(
  state: TokenState, data: TokenData, config: TokenConfig
) -> tuple[Params, Features]:
  """Rounds weights to float16 values, then measures z_rl with those."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float16), state.params)
  if not all(np.isfinite(x).all() for x in jax.tree.leaves(params)):
    raise ValueError('Weights must be finite in float16; training diverged.')
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  stats = jax.tree.map(np.asarray, dict(state.stats))
  found = features.measure(
    params | {'stats': stats}, data.sample(state.vla_params), config
  )
  stats = stats | stats_lib.measure_z(found.z_rl)
  return params | {'stats': jax.tree.map(jnp.asarray, stats)}, found
