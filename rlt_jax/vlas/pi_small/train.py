"""Trains the VLA on demonstrations, by steps or by the clock."""

from collections.abc import Callable
import dataclasses
import functools
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import dataset, model, objective, validate
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig

# What to train -> the params that learn; the rest stays as it is.
PARTS = {
  'all': ('prefix', 'expert', 'readout'),
  'prefix': ('prefix', 'readout'),
  'expert': ('expert',),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """Optimizer, length and intervals of one training."""

  steps: int = 6_000  # the cosine ends here, or at `minutes`
  minutes: float | None = None  # wall clock; whichever comes first
  # Part to train, a key of PARTS. The prefix alone trains faster, and its
  # readout loss teaches it details that the flow loss does not need.
  part: str = 'all'
  batch_size: int = 64  # frames per step
  learning_rate: float = 8e-4  # peak; from-scratch widths
  warmup_steps: int = 200  # linear rise to the peak
  final_lr_share: float = 0.02  # of the peak, at the end of the cosine
  weight_decay: float = 1e-4  # decoupled
  clip_norm: float = 1.0  # global norm of the gradient
  ema_rate: float = 0.998  # of the shipped weights
  held_out: float = 0.05  # share of episodes that validate
  log_every: int = 50  # steps
  save_every_s: float = 240.0  # a killed training loses no more
  seed: int = 0

  def __post_init__(self):
    if self.part not in PARTS:
      raise ValueError(f'part must be one of {tuple(PARTS)}: {self.part!r}.')
    if self.steps < 1 or self.batch_size < 1 or self.log_every < 1:
      raise ValueError(
        'steps, batch_size and log_every must be positive: '
        f'{self.steps}, {self.batch_size}, {self.log_every}.'
      )
    if self.minutes is not None and self.minutes <= 0.0:
      raise ValueError(f'minutes must be positive or None: {self.minutes}.')
    for name in ('learning_rate', 'clip_norm', 'save_every_s'):
      if getattr(self, name) <= 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    for name in ('ema_rate', 'held_out', 'final_lr_share'):
      if not 0.0 <= getattr(self, name) < 1.0:
        raise ValueError(f'{name} must be in [0, 1): {getattr(self, name)}.')
    if self.weight_decay < 0.0 or self.warmup_steps < 0:
      raise ValueError(
        'weight_decay and warmup_steps must not be negative: '
        f'{self.weight_decay}, {self.warmup_steps}.'
      )


@chex.dataclass(frozen=True)
class TrainState:
  """Params without 'norm', their running average, and optimizer state."""

  params: Params
  ema: Params
  opt_state: optax.OptState
  step: Array


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
  """Returns AdamW without its rate: each step brings its own."""
  return optax.chain(
    optax.clip_by_global_norm(config.clip_norm),
    optax.scale_by_adam(b1=0.9, b2=0.95),
    optax.add_decayed_weights(config.weight_decay),
  )


def init_state(
  key: PRNGKey,
  *,
  config: PiConfig,
  train: TrainConfig,
  start: Params | None = None,
) -> TrainState:
  """Returns params in a fresh state: untrained, or a copy of `start`.

  Args:
    key: consumed.
    config, train: static.
    start: trained; its 'norm' is left out, as statistics are the demos'.
  """
  if start is None:
    init = functools.partial(model.init_params, norm=None, config=config)
    params = dict(jax.jit(init)(key))
  else:
    params = jax.tree.map(jnp.array, dict(start))
  del params['norm']
  return TrainState(
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    opt_state=make_optimizer(train).init(
      {name: params[name] for name in PARTS[train.part]}
    ),
    step=jnp.zeros((), jnp.int32),
  )


def learning_rate(step: int, share: float, config: TrainConfig) -> float:
  """Returns the rate after `share` in [0, 1] of the training is done."""
  cosine = 0.5 * (1.0 + np.cos(np.pi * min(max(share, 0.0), 1.0)))
  low = config.final_lr_share
  warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
  return config.learning_rate * warmup * (low + (1.0 - low) * cosine)


@functools.partial(
  jax.jit, static_argnames=('config', 'train', 'loss'), donate_argnums=0
)
def train_step(
  state: TrainState,
  batch: demos_lib.DemoBatch,
  norm: model.VlaNorm,
  rate: Array,
  key: PRNGKey,
  *,
  config: PiConfig,
  train: TrainConfig,
  loss: LossConfig,
) -> tuple[TrainState, dict[str, Array]]:
  """Runs one AdamW step on one batch and moves the average.

  Args:
    state: donated.
    batch: arrays [B, ...].
    norm: of the training frames.
    rate: [] learning rate.
    key: consumed.
    config, train, loss: static.
  """
  augment_key, loss_key = jax.random.split(key)
  images = objective.augment(batch.images, augment_key, config=loss)
  batch = batch._replace(images=images)

  def total(learning):
    return objective.loss(
      state.params | learning | {'norm': norm},
      batch,
      loss_key,
      config=config,
      train=loss,
      flow='expert' in learning,
    )

  learning = {name: state.params[name] for name in PARTS[train.part]}
  (_, metrics), grads = jax.value_and_grad(total, has_aux=True)(learning)
  updates, opt_state = make_optimizer(train).update(
    grads, state.opt_state, learning
  )
  updates = jax.tree.map(lambda x: -rate * x, updates)
  learning = optax.apply_updates(learning, updates)
  # Early on the average would mostly hold the random start.
  ema_rate = jnp.minimum(train.ema_rate, (1 + state.step) / (10 + state.step))
  ema = {name: state.ema[name] for name in learning}
  ema = optax.incremental_update(learning, ema, 1.0 - ema_rate)
  metrics['grad_norm'] = optax.tree.norm(grads)
  state = TrainState(
    params=state.params | learning,
    ema=state.ema | ema,
    opt_state=opt_state,
    step=state.step + 1,
  )
  return state, metrics


def check_start(train: TrainConfig, start: object | None) -> None:
  """Raises a ValueError if a part that stays fixed was never trained."""
  if start is None and 'prefix' not in PARTS[train.part]:
    raise ValueError(
      'A part that leaves the prefix as it is must start from trained weights: '
      f'part is {train.part!r}, start None.'
    )


def _choose_norm(
  demos: demos_lib.Demos,
  rows: np.ndarray,
  start: Params | None,
  *,
  config: PiConfig,
  train: TrainConfig,
) -> model.VlaNorm:
  """Returns the statistics of the training rows, or those of a fixed prefix."""
  if 'prefix' not in PARTS[train.part]:
    norm = start['norm']
  else:
    light = demos.frames._replace(images={})
    norm = dataset.measure(demos_lib.take(light, rows), config)
  return jax.tree.map(jnp.asarray, norm)


def _share_done(step: int, elapsed_s: float, train: TrainConfig) -> float:
  """Returns the share of the training that is done, by steps or by time."""
  share = step / train.steps
  if train.minutes is not None:
    share = max(share, elapsed_s / (60.0 * train.minutes))
  return share


def fit(
  demos: demos_lib.Demos,
  *,
  config: PiConfig,
  train: TrainConfig,
  loss: LossConfig,
  log: Callable[[dict[str, float]], None],
  save: Callable[[Params, dict[str, float]], None],
  start: Params | None = None,
) -> tuple[Params, dict[str, float]]:
  """Trains on the demos; returns averaged params with 'norm', and results.

  Args:
    demos: checked against `config` here.
    config, train, loss: all that matters, with the seed in `train`.
    log: called every `log_every` steps.
    save: called with params and validation every `save_every_s` seconds.
    start: trained params to continue from; None starts from random ones. If
      the prefix is not trained, its readout's statistics do not change either.

  Raises:
    ValueError: the demos do not fit, or the prefix stays as it is and there is
      none to start from.
  """
  check_start(train, start)
  dataset.check(demos, config)
  rows, held_out = demos_lib.split_episodes(
    demos.frames.episode, train.held_out, train.seed
  )
  norm = _choose_norm(demos, rows, start, config=config, train=train)
  init_key, step_key = jax.random.split(jax.random.key(train.seed))
  state = init_state(init_key, config=config, train=train, start=start)
  order = np.random.default_rng(train.seed)
  measure = functools.partial(
    validate.evaluate, demos=demos, rows=held_out, config=config, loss=loss
  )
  began = saved = logged = time.monotonic()
  for step in range(train.steps):
    share = _share_done(step, time.monotonic() - began, train)
    if share >= 1.0:
      break
    batch = demos_lib.take(
      demos.frames, rows[order.integers(len(rows), size=train.batch_size)]
    )
    rate = learning_rate(step, share, train)
    state, metrics = train_step(
      state, batch, norm, jnp.float32(rate),
      jax.random.fold_in(step_key, step), config=config, train=train, loss=loss,
    )  # fmt: skip
    if (step + 1) % train.log_every == 0:
      metrics = {name: float(x) for name, x in metrics.items()}
      now = time.monotonic()
      metrics |= {'step': step + 1, 'rate': rate, 'elapsed_s': now - began}
      metrics['step_s'] = (now - logged) / train.log_every
      logged = now
      log(metrics)
    if time.monotonic() - saved > train.save_every_s:
      # A copy, as the next step takes the state's own arrays.
      params = jax.tree.map(jnp.copy, state.ema) | {'norm': norm}
      results = measure(params) | {'step': step + 1}
      save(params, results | {'train_s': time.monotonic() - began})
      saved = logged = time.monotonic()
  params = state.ema | {'norm': norm}
  results = measure(params) | {
    'step': int(state.step),
    'train_s': time.monotonic() - began,
  }
  return params, results
