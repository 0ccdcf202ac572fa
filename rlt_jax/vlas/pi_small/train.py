"""One gradient step of the VLA, and the settings of a training."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import optax

from rlt_jax import signals
from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import training_loop
from rlt_jax.vlas.pi_small import model, objective
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig

# What to train -> the params that learn; the rest stays as it is.
PARTS = {
  'all': ('prefix', 'expert', 'readout'),
  'prefix': ('prefix', 'readout'),
  'expert': ('expert',),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(training_loop.LoopConfig):
  """The settings of the loop, and what is trained."""

  # Part to train, a key of PARTS. The prefix alone trains faster, and its
  # readout loss teaches it details that the flow loss does not need.
  part: str = 'all'

  def __post_init__(self):
    super().__post_init__()
    if self.part not in PARTS:
      raise ValueError(f'part must be one of {tuple(PARTS)}: {self.part!r}.')


@chex.dataclass(frozen=True)
class TrainState:
  """Params without 'norm', their running average, and optimizer state."""

  params: Params
  ema: Params
  opt_state: optax.OptState
  step: Array


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
    params = dict(signals.call(jax.jit(init), key))
  else:
    params = jax.tree.map(jnp.array, dict(start))
  del params['norm']
  return TrainState(
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    opt_state=training_loop.make_optimizer(train).init(
      {name: params[name] for name in PARTS[train.part]}
    ),
    step=jnp.zeros((), jnp.int32),
  )


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
  updates, opt_state = training_loop.make_optimizer(train).update(
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
      'A part that leaves the prefix as it is must start from trained weights '
      f'(--start): part is {train.part!r}, start None.'
    )
