"""Trains π0 and π0.5 on demonstrations by their flow, as openpi does."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import signals
from rlt_jax.sitting import Sitting
from rlt_jax.types import Array, Observation, Params, PRNGKey
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import training_loop
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.openpi import lessons, model, readout, robot_map
from rlt_jax.vlas.openpi.openpi_vla import OpenpiVla

_MEASURED = 512  # held-out frames, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(training_loop.LoopConfig):
  """The settings of the loop; the defaults are openpi's of a fine-tuning."""

  steps: int = 30_000
  batch_size: int = 32
  learning_rate: float = 2.5e-5
  warmup_steps: int = 1_000
  final_lr_share: float = 0.1
  weight_decay: float = 1e-10
  ema_rate: float = 0.99
  draws: int = 1  # (noise, time) pairs per prefix pass
  prefix_weight: float = 0.0  # of the prefix's own loss, see `readout`

  def __post_init__(self):
    super().__post_init__()
    if self.draws < 1:
      raise ValueError(f'draws must be positive: {self.draws}.')
    if not 0.0 <= self.prefix_weight < math.inf:
      raise ValueError(
        f'prefix_weight must not be negative: {self.prefix_weight}.'
      )


@chex.dataclass(frozen=True)
class TrainState:
  """Float32 params, their running average, and optimizer state.

  The params are those of the model below 'model', and 'readout' if the prefix
  has a loss of its own.
  """

  params: Params
  ema: Params
  opt_state: optax.OptState
  step: Array


def init_state(params: Params, train: TrainConfig) -> TrainState:
  """Returns a fresh state with a copy of params."""
  params = jax.tree.map(lambda x: jnp.array(x, jnp.float32), params)
  return TrainState(
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    opt_state=training_loop.make_optimizer(train).init(params),
    step=jnp.zeros((), jnp.int32),
  )


def loss(
  params: Params,
  batch: DemoBatch,
  key: PRNGKey,
  *,
  vla: OpenpiVla,
  scale: Array,
  norm: readout.TargetNorm | None = None,
  train: TrainConfig = TrainConfig(),
) -> tuple[Array, dict[str, Array]]:
  """Returns the loss [] on a batch of demonstrations, and its parts.

  Steps past the end of a demonstration count: there the robot holds still.

  Args:
    params: of a `TrainState`.
    batch: arrays [B, ...].
    key: consumed; noise and times.
    vla: static; its statistics, words and configuration, not its weights.
    scale: [A] rad or m of one unit of the batch's chunks.
    norm: of the prefix's own loss; None where it has none.
    train: static; its draws and prefix_weight are read.
  """
  config, ranges = vla.config, vla.params['norm']
  space = robot_map.make(config.joints, config.joint_order)
  _, state, actions = lessons.targets(batch, space, scale, vla.spec.action_dim)
  observation = Observation(batch.images, batch.proprio, batch.prompt)
  inputs = vla.read(vla.params, observation, ranges.state.normalize(state))
  actions = ranges.actions.normalize(actions)
  rest = config.model.action_dim - actions.shape[-1]
  actions = jnp.pad(actions, ((0, 0), (0, 0), (0, rest)))
  weights = params['model']
  prefix = model.run_prefix(weights, inputs, config.model)
  flow = model.flow_loss_behind(
    prefix, weights, inputs, actions, key, config.model, train.draws
  ).mean()
  if norm is None:
    return flow, {'flow_loss': flow}
  own = readout.loss(params['readout'], prefix, batch.remaining_motion, norm)
  total = flow + train.prefix_weight * own
  return total, {'flow_loss': flow, 'prefix_loss': own}


def make_step(
  vla: OpenpiVla,
  scale: Array,
  norm: readout.TargetNorm | None,
  train: TrainConfig,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
  """Returns step(state, batch, rate, key) -> state and figures, compiled.

  The state is donated; the arguments are those of `training_loop.Fit.update`.
  """
  optimizer = training_loop.make_optimizer(train)

  @functools.partial(jax.jit, donate_argnums=0)
  def step(state, batch, rate, key):
    (_, figures), grads = jax.value_and_grad(loss, has_aux=True)(
      state.params, batch, key, vla=vla, scale=scale, norm=norm, train=train
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    updates = jax.tree.map(lambda x: -rate * x, updates)
    params = optax.apply_updates(state.params, updates)
    # Early on the average would mostly hold the random start.
    slow = jnp.minimum(train.ema_rate, (1 + state.step) / (10 + state.step))
    ema = optax.incremental_update(params, state.ema, 1.0 - slow)
    figures['grad_norm'] = optax.tree.norm(grads)
    state = TrainState(
      params=params, ema=ema, opt_state=opt_state, step=state.step + 1
    )
    return state, figures

  return step


class _Fit(training_loop.Fit):
  """One training of a π0 or π0.5."""

  def __init__(
    self,
    demos: Demos,
    *,
    vla: OpenpiVla,
    train: TrainConfig,
    start: Params | None,
    sitting: Sitting,
    settings: Mapping[str, Any],
  ):
    """Restores a saved state, or begins with `start`; see `fit`."""
    super().__init__(demos, train, sitting)
    self._vla = vla
    scale = jnp.asarray(demos.action_scale, jnp.float32)
    init_key, readout_key = jax.random.split(self._init_key)
    self._norm, config = None, vla.config
    if start is None:
      init = jax.jit(model.init_params, static_argnums=1)
      start = signals.call(init, init_key, config.model)
    params = {'model': start}
    if train.prefix_weight:
      motion = demos.frames.remaining_motion
      self._norm = readout.measure(
        None if motion is None else motion[self._rows]
      )
      params['readout'] = readout.init(
        readout_key, config.model, len(config.cameras)
      )
    self._step = make_step(vla, scale, self._norm, train)
    self.begin({'train': init_state(params, train)}, settings)

  def update(self, state, batch, rate, key):
    """Takes a step; see `training_loop.Fit`."""
    return self._step(state, batch, rate, key)

  def validate(self, params: Params) -> tuple[Params, dict[str, float]]:
    """Returns the model's averaged params, and errors on held-out frames."""
    results = evaluate(
      params, self._demos, self._held_out, vla=self._vla, norm=self._norm
    )
    return params['model'], results


def fit(
  demos: Demos,
  *,
  vla: OpenpiVla,
  train: TrainConfig,
  log: Callable[[dict[str, float]], None],
  save: Callable[[Params, dict[str, float]], None],
  start: Params | None = None,
  sitting: Sitting | None = None,
  settings: Mapping[str, Any] | None = None,
) -> tuple[Params, dict[str, float]]:
  """Trains on demonstrations; returns averaged params, and results.

  Args:
    demos: that fit the VLA, with its prompts.
    vla: with the statistics to train with; its weights are not read.
    train: all that matters, with the seed.
    log: called every `log_every` steps.
    save: called with params and validation every `save_every_s` seconds.
    start: trained params to continue from; None starts from random ones.
    sitting: keeps the state, so that a training that was interrupted ends as an
      unbroken one of as many steps; None keeps nothing.
    settings: for `Sitting.restore`.

  Raises:
    ValueError: demonstrations that do not fit.
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  demos_lib.check_fit(demos, vla.spec, actions=True)
  sitting = sitting or Sitting()
  run = _Fit(
    demos,
    vla=vla,
    train=train,
    start=start,
    sitting=sitting,
    settings=settings or {},
  )
  return training_loop.run(run, train, log=log, save=save, sitting=sitting)


def evaluate(
  params: Params,
  demos: Demos,
  rows: np.ndarray,
  *,
  vla: OpenpiVla,
  norm: readout.TargetNorm | None = None,
  batch_size: int = 64,
) -> dict[str, float]:
  """Measures the loss, and errors in rad (grippers m), over some frames.

  'chunk_<step>_rms' is of one sampled chunk against the demonstration, over
  all joints; 'still_<step>_rms' is the error of predicting no motion.

  Args:
    params: of a `TrainState`.
    demos: that fit the VLA.
    rows: [R] frames to use, spread evenly if they are many.
    vla: its weights are not read.
    norm: as for `loss`.
    batch_size: frames at once; a remainder is left out if R allows.
  """
  if len(rows) > _MEASURED:
    rows = rows[np.linspace(0, len(rows) - 1, _MEASURED).astype(int)]
  size, H = min(batch_size, len(rows)), vla.spec.horizon
  steps = sorted({max(1, H // 5), max(1, H // 2), H})
  scale = jnp.asarray(demos.action_scale, jnp.float32)

  @jax.jit
  def measure(params, batch, key):
    loss_key, sample_key = jax.random.split(key)
    _, parts = loss(params, batch, loss_key, vla=vla, scale=scale, norm=norm)
    observation = Observation(batch.images, batch.proprio, batch.prompt)
    noise = jax.random.normal(sample_key, batch.chunk.shape)
    whole = vla.params | {'model': params['model']}
    chunk = vla.apply_with_noise(whole, observation, noise).reference
    squares = {}
    for step in steps:
      asked = batch.chunk[:, step - 1]
      error = (chunk[:, step - 1] - asked) * scale
      squares[f'chunk_{step}_rms'] = jnp.square(error).mean()
      squares[f'still_{step}_rms'] = jnp.square(asked * scale).mean()
    return parts, squares

  results = []
  for i in range(len(rows) // size):
    batch = demos_lib.take(demos.frames, rows[i * size : (i + 1) * size])
    results.append(measure(params, batch, jax.random.key(i)))
  parts, squares = jax.tree.map(lambda *x: float(np.mean(x)), *results)
  roots = {name: float(np.sqrt(x)) for name, x in squares.items()}
  return parts | roots
