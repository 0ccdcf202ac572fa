"""What the VLA is trained on: flow matching and the prefix's own loss."""

import dataclasses

import jax
import jax.numpy as jnp

from rlt_jax.types import Array, Observation, Params, PRNGKey
from rlt_jax.vlas import motion_targets
from rlt_jax.vlas.pi_small import model
from rlt_jax.vlas.pi_small.config import PiConfig

_TIME_SHAPE = 1.5  # Beta(1.5, 1): more weight on noisy chunks
_TIME_LOW = 1e-3  # time 0 would ask for a velocity of pure data


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Weights of the two losses, and the image augmentation.

  Images are never shifted or cropped: one pixel of a wrist camera is about a
  millimeter, more than the task forgives.
  """

  draws: int = 2  # (noise, time) pairs per prefix pass
  prefix_weight: float = 2.0  # of the readout's loss; both are whitened
  hold_weight: float = 1.0  # of steps past the end of the demo
  brightness: float = 20.0  # largest shift, gray levels of 255
  contrast: float = 0.15  # largest relative change, around the image mean
  pixel_noise: float = 4.0  # half-width of uniform noise, gray levels

  def __post_init__(self):
    if self.draws < 1:
      raise ValueError(f'draws must be positive: {self.draws}.')
    for name in (
      'prefix_weight',
      'hold_weight',
      'brightness',
      'contrast',
      'pixel_noise',
    ):
      if getattr(self, name) < 0.0:
        raise ValueError(f'{name} must not be negative: {getattr(self, name)}.')


def targets(motion: Array, *, config: PiConfig) -> Array:
  """Returns what the readout regresses, [B, target_dim], known in hindsight.

  Args:
    motion: [B, 6] `DemoBatch.remaining_motion`.
    config: static.
  """
  return motion_targets.make(motion, config.readout_near)


def check_motion(batch) -> None:
  """Raises a ValueError unless a `DemoBatch` has what the readout regresses."""
  if batch.remaining_motion is None:
    raise ValueError(
      'The small VLA learns its image embeddings from how the tool has yet to '
      'move, remaining_motion, which these demonstrations do not know. Name '
      'its column in the mapping, if the dataset has one; other VLAs do '
      'without.'
    )


def augment(images, key: PRNGKey, *, config: LossConfig):
  """Changes light and adds noise, per row and camera; `key` is consumed.

  Args:
    images: camera -> uint8 [B, S, S, 3].
    key: consumed.
    config: static.

  Returns:
    camera -> float32 levels, not clipped: the stem takes any level.
  """
  out = {}
  for i, camera in enumerate(sorted(images)):
    image = images[camera].astype(jnp.float32)
    light_key, noise_key = jax.random.split(jax.random.fold_in(key, i))
    light = jax.random.uniform(
      light_key, (2, image.shape[0], 1, 1, 1), minval=-1.0
    )
    # Bytes are four times cheaper to draw than floats.
    noise = jax.random.bits(noise_key, image.shape, jnp.uint8)
    noise = noise.astype(jnp.float32) / 127.5 - 1.0
    mean = image.mean((1, 2, 3), keepdims=True)
    image = mean + (image - mean) * (1.0 + config.contrast * light[0])
    image += config.brightness * light[1] + config.pixel_noise * noise
    out[camera] = image
  return out


def loss(
  params: Params,
  batch,
  key: PRNGKey,
  *,
  config: PiConfig,
  train: LossConfig,
  flow: bool = True,
) -> tuple[Array, dict[str, Array]]:
  """Returns flow loss + prefix_weight * readout loss, and both as metrics.

  Args:
    params: of `model.init_params`.
    batch: `demos.DemoBatch` of arrays [B, ...].
    key: consumed; noise and times.
    config, train: static.
    flow: static; False leaves the flow loss and the expert out.
  """
  check_motion(batch)
  norm = jax.lax.stop_gradient(params['norm'])
  observation = Observation(batch.images, batch.proprio, batch.prompt)
  out = model.prefix(params, observation, config=config)
  target = targets(batch.remaining_motion, config=config)
  target = (target - norm.target_mean) / norm.target_std
  prediction = model.predict_targets(params, out, config=config)
  prefix_loss = jnp.square(prediction - target).mean()
  total, metrics = train.prefix_weight * prefix_loss, {}
  if flow:
    chunk = (batch.chunk - norm.chunk_mean) / norm.chunk_std
    metrics['flow_loss'] = _flow_loss(
      params, out, batch, chunk, key, config=config, train=train
    )
    total += metrics['flow_loss']
  return total, metrics | {'prefix_loss': prefix_loss}


def _flow_loss(params, out, batch, chunk, key, *, config, train):
  noise_key, time_key = jax.random.split(key)
  shape = (chunk.shape[0], train.draws)
  # u**(1/a) is Beta(a, 1), by its distribution function t**a.
  time = jax.random.uniform(time_key, shape) ** (1.0 / _TIME_SHAPE)
  time = time * (1.0 - _TIME_LOW) + _TIME_LOW
  noise = jax.random.normal(noise_key, (*shape, *chunk.shape[1:]))
  chunk = chunk[:, None]
  t = time[..., None, None]
  actual = model.velocity(
    params,
    out,
    batch.proprio,
    t * noise + (1.0 - t) * chunk,
    time,
    config=config,
  )
  error = jnp.square(actual - (noise - chunk)).mean((1, 3))  # [B, H]
  weight = jnp.where(batch.chunk_valid, 1.0, train.hold_weight)
  return (error * weight).sum() / weight.sum()
