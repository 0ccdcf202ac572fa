"""Trains a trunk to tell where the solids of random scenes are.

A linear head for each scene reads the flattened map; the trunk is shared, so
that it must find edges, positions, distances and directions of things it is not
told the shape of. Heads are thrown away.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import signals
from rlt_jax.resnet10 import renders
from rlt_jax.resnet10.network import ResNet10, STRIDE, WIDTH
from rlt_jax.sitting import Sitting
from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas import step_loop

_LOG_EVERY, _SAVE_EVERY_S = 50, 240.0
_HELD_OUT = 128  # pictures of each scene


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig:
  """Pictures and optimizer of a training."""

  scenes: int = 8
  image_size: int = 64  # pixels a side, a multiple of 32
  steps: int = 1_000
  batch_size: int = 64  # pictures a step, of one scene
  learning_rate: float = 1e-3  # peak; cosine to zero
  weight_decay: float = 1e-4  # decoupled
  seed: int = 0

  def __post_init__(self):
    for name in ('scenes', 'steps', 'batch_size', 'image_size'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    if self.image_size % STRIDE or self.image_size < 64:
      raise ValueError(
        f'image_size must be a multiple of {STRIDE} from 64 on: '
        f'{self.image_size}.'
      )
    if not self.learning_rate > 0.0 or not self.weight_decay >= 0.0:
      raise ValueError(
        'learning_rate must be positive and weight_decay not negative: '
        f'{self.learning_rate}, {self.weight_decay}.'
      )


class TrainState(NamedTuple):
  """params: 'trunk', and 'head' [scenes, features, targets]."""

  params: Params
  optimizer: Any


def init(key: PRNGKey, config: ResNetConfig) -> TrainState:
  """Returns a trunk and heads to begin with; the key is consumed."""
  size = config.image_size
  image = jnp.zeros((1, size, size, 3), jnp.uint8)
  features = (size // STRIDE) ** 2 * WIDTH
  params = {
    'trunk': ResNet10().init(key, image)['params'],
    'head': jnp.zeros((config.scenes, features, renders.TARGETS)),
    'bias': jnp.zeros((config.scenes, renders.TARGETS)),
  }
  return TrainState(params, _optimizer(config).init(params))


class Scale(NamedTuple):
  """Mean and deviation of each target, [TARGETS]."""

  mean: Array
  std: Array


def loss(
  params: Params, scene: Array, picture: renders.Picture, scale: Scale
) -> Array:
  """Returns the mean squared error of standardized targets.

  Args:
    params: see `TrainState`.
    scene: [] number of the scene.
    picture: of that scene.
    scale: of the targets of all scenes.
  """
  wanted = (picture.targets - scale.mean) / scale.std
  return jnp.mean(jnp.square(_predict(params, scene, picture.images) - wanted))


def train(
  config: ResNetConfig, sitting: Sitting
) -> tuple[Params, dict[str, float]]:
  """Trains a trunk; returns its params and what held-out pictures say.

  Args:
    config: the settings.
    sitting: keeps states and prints.

  Raises:
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  init_key, draw_key, held_key = jax.random.split(
    jax.random.key(config.seed), 3
  )
  scenes = [
    renders.Scene(config.seed + i, config.image_size)
    for i in range(config.scenes)
  ]
  begun = {
    'state': signals.call(init, init_key, config),
    'step': 0,
    'elapsed_s': 0.0,
  }
  kept = sitting.restore(begun, {'resnet10': dataclasses.asdict(config)})
  held_out = [
    signals.call(scene.draw, jax.random.fold_in(held_key, i), _HELD_OUT)
    for i, scene in enumerate(scenes)
  ]
  targets = jnp.concatenate([x.targets for x in held_out])
  scale = Scale(targets.mean(0), targets.std(0))
  update = jax.jit(functools.partial(_update, config, scale), donate_argnums=0)

  def take_step(state, step, call):
    number = step % len(scenes)
    key = jax.random.fold_in(draw_key, step)
    picture = call(scenes[number].draw, key, config.batch_size)
    state, error = call(update, state, jnp.int32(number), picture)
    return state, {'loss': error}

  state, _, spent = step_loop.run(
    take_step,
    kept,
    'state',
    config.steps,
    sitting=sitting,
    log_every=_LOG_EVERY,
    save_every_s=_SAVE_EVERY_S,
  )
  errors = [
    float(signals.call(_measure, state.params, jnp.int32(i), x, scale))
    for i, x in enumerate(held_out)
  ]
  return state.params['trunk'], {
    'explained': 1.0 - float(np.mean(errors)),
    'minutes': spent / 60,
  }


def _predict(params: Params, scene: Array, images: Array) -> Array:
  features = ResNet10().apply({'params': params['trunk']}, images)
  # Of unit length or so: a step of Adam moves all weights of a head alike, and
  # would move their sum over thousands of features too far.
  features = features.reshape(len(images), -1)
  features = features / np.sqrt(features.shape[1])
  return features @ params['head'][scene] + params['bias'][scene]


@jax.jit
def _measure(params, scene, picture: renders.Picture, scale) -> Array:
  return loss(params, scene, picture, scale)


def _update(config, scale, state: TrainState, scene, picture):
  error, gradients = jax.value_and_grad(loss)(
    state.params, scene, picture, scale
  )
  changes, optimizer = _optimizer(config).update(
    gradients, state.optimizer, state.params
  )
  return TrainState(
    optax.apply_updates(state.params, changes), optimizer
  ), error


def _optimizer(config: ResNetConfig) -> optax.GradientTransformation:
  rate = optax.warmup_cosine_decay_schedule(
    0.0, config.learning_rate, min(100, config.steps // 2), config.steps
  )
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(rate, weight_decay=config.weight_decay),
  )
