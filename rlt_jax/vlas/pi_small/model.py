"""A small flow-matching VLA in the pi style: prefix, expert, readout.

The prefix holds image tokens, then language tokens. The expert holds one state
token, which sees the prefix but no action, and H action tokens, which see all.
The expert turns noise (time 1) into a whitened chunk (time 0).

The flow loss reaches the prefix only through keys and values, which leaves the
last layer's output untrained. The readout regresses from that output how the
tip has yet to move, so that the tokens handed out carry a trained meaning.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rlt_jax.types import Array, Observation, Params, PRNGKey
from rlt_jax.vlas.pi_small import layers, vision
from rlt_jax.vlas.pi_small.config import PiConfig

_PERIODS = (4e-3, 4.0)  # of the time features; time lies in [0, 1]


class VlaNorm(NamedTuple):
  """Statistics of the demonstrations; the network sees whitened numbers.

  proprio_mean, proprio_std: [P].
  chunk_mean, chunk_std: [H, A] normalized action units.
  target_mean, target_std: [target_dim] of `objective.targets`.
  """

  proprio_mean: Array
  proprio_std: Array
  chunk_mean: Array
  chunk_std: Array
  target_mean: Array
  target_std: Array


class PrefixOutput(NamedTuple):
  """One pass over images and prompt.

  tokens: [B, N, D] final normed embeddings, zero where padding.
  mask, image_mask: bool [B, N].
  cache: keys and values per layer, for any number of suffixes.
  """

  tokens: Array
  mask: Array
  image_mask: Array
  cache: tuple[layers.KeysValues, ...]


class Prefix(nn.Module):
  """Images and prompt to tokens, keys and values."""

  config: PiConfig

  @nn.compact
  def __call__(self, observation: Observation) -> PrefixOutput:
    """Maps a batched Observation; its proprioception is not read."""
    config, D = self.config, self.config.prefix_width
    stems = [
      vision.Stem(config.stem_widths, D, name=f'stem_{camera}')
      for camera in config.cameras
    ]
    x = [
      stem(observation.images[camera])
      for stem, camera in zip(stems, config.cameras, strict=True)
    ]
    x = jnp.concatenate(x, axis=1)
    x = x + vision.Summary(config.summary_widths, name='summary')(x)
    embed = nn.Embed(
      config.vocabulary, D, embedding_init=nn.initializers.normal(0.5)
    )
    prompt = observation.prompt
    x = jnp.concatenate([x, embed(prompt)], axis=1)  # [B, N, D]
    # One row per camera and patch: camera and position at once.
    x = x + self.param(
      'position', nn.initializers.normal(0.2), (config.num_tokens, D)
    )
    image_mask = jnp.arange(config.num_tokens) < config.num_image_tokens
    image_mask = jnp.broadcast_to(image_mask, x.shape[:2])
    seen = (prompt.shape[0], config.num_image_tokens)
    mask = jnp.concatenate([jnp.ones(seen, bool), prompt != 0], axis=1)
    cache = []
    for i in range(config.depth):
      block = layers.PrefixBlock(
        config.num_heads, config.head_dim, config.mlp_ratio, name=f'layer_{i}'
      )
      x, keys_values = block(x, mask)
      cache.append(keys_values)
    x = layers.RmsNorm(name='final_norm')(x)
    x = jnp.where(mask[..., None], x, 0.0)
    return PrefixOutput(x, mask, image_mask, tuple(cache))


class Expert(nn.Module):
  """State, noisy chunk and time to a velocity, given a prefix."""

  config: PiConfig

  @nn.compact
  def __call__(
    self, prefix: PrefixOutput, proprio: Array, noisy: Array, time: Array
  ) -> Array:
    """Returns velocities [B, G, H, A]; see `velocity`."""
    config, width = self.config, self.config.expert_width
    x = nn.Dense(width, name='action_in')(noisy)
    x = x + self.param(
      'position', nn.initializers.normal(0.2), (config.horizon, width)
    )
    state = nn.Dense(width, name='state_in')(proprio)[:, None, None]
    state = jnp.broadcast_to(state, (*x.shape[:2], 1, width))
    x = jnp.concatenate([state, x], axis=2)  # [B, G, 1 + H, width]
    cond = nn.swish(nn.Dense(width, name='time_in')(_time_features(time)))
    cond = nn.swish(nn.Dense(width, name='time_out')(cond))
    for i in range(config.depth):
      block = layers.ExpertBlock(
        config.num_heads, config.head_dim, config.mlp_ratio, name=f'layer_{i}'
      )
      x = block(x, cond, prefix.cache[i], prefix.mask)
    x, _ = layers.AdaptiveNorm(name='final_norm')(x[:, :, 1:], cond)
    return nn.Dense(config.action_dim, name='action_out')(x)


def _time_features(time, count=32):
  low, high = _PERIODS
  periods = low * (high / low) ** jnp.linspace(0.0, 1.0, count)
  angle = 2.0 * jnp.pi * time[..., None] / periods
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class Readout(nn.Module):
  """Pools the image tokens with learned queries and regresses targets."""

  config: PiConfig

  @nn.compact
  def __call__(self, image_tokens: Array) -> Array:
    """Maps [B, image tokens, D] to standardized targets [B, target_dim]."""
    config = self.config
    scores = nn.Dense(config.readout_slots, name='scores')(image_tokens)
    weights = jax.nn.softmax(scores, axis=1)
    x = jnp.einsum('bns,bnd->bsd', weights, image_tokens)
    x = x.reshape(x.shape[0], -1)
    x = nn.gelu(nn.Dense(config.readout_width, name='hidden')(x))
    return nn.Dense(config.target_dim, name='out')(x)


def init_params(key: PRNGKey, norm: VlaNorm, *, config: PiConfig) -> Params:
  """Returns untrained params; `norm` is carried along. `key` is consumed."""
  keys = jax.random.split(key, 3)
  size = config.image_size
  observation = Observation(
    images={c: jnp.zeros((1, size, size, 3)) for c in config.cameras},
    proprio=jnp.zeros((1, config.proprio_dim)),
    prompt=jnp.ones((1, config.prompt_length), jnp.int32),
  )
  out, prefix_params = Prefix(config).init_with_output(keys[0], observation)
  noisy = jnp.zeros((1, 1, config.horizon, config.action_dim))
  expert_params = Expert(config).init(
    keys[1], out, observation.proprio, noisy, jnp.ones((1, 1))
  )
  readout_params = Readout(config).init(
    keys[2], out.tokens[:, : config.num_image_tokens]
  )
  return {
    'prefix': prefix_params['params'],
    'expert': expert_params['params'],
    'readout': readout_params['params'],
    'norm': jax.tree.map(jnp.asarray, norm),
  }


def prefix(
  params: Params, observation: Observation, *, config: PiConfig
) -> PrefixOutput:
  """Runs images and prompt once; every suffix reuses the result.

  Args:
    params: of `init_params`.
    observation: batched; images uint8, or float with the same levels.
    config: static.
  """
  size = config.image_size
  for camera in config.cameras:
    if camera not in observation.images:
      raise ValueError(
        f'The observation must have camera {camera!r}: '
        f'{sorted(observation.images)}.'
      )
    shape = observation.images[camera].shape
    if len(shape) != 4 or shape[1:] != (size, size, 3):
      raise ValueError(
        f'Camera {camera!r} must be [B, {size}, {size}, 3]: {shape}.'
      )
  shape = observation.prompt.shape
  if len(shape) != 2 or shape[1] != config.prompt_length:
    raise ValueError(f'prompt must be [B, {config.prompt_length}]: {shape}.')
  return Prefix(config).apply({'params': params['prefix']}, observation)


def predict_targets(
  params: Params, out: PrefixOutput, *, config: PiConfig
) -> Array:
  """Returns whitened `objective.targets` [B, target_dim] from image tokens."""
  tokens = out.tokens[:, : config.num_image_tokens]
  return Readout(config).apply({'params': params['readout']}, tokens)


def velocity(
  params: Params,
  out: PrefixOutput,
  proprio: Array,
  noisy: Array,
  time: Array,
  *,
  config: PiConfig,
) -> Array:
  """Returns the flow's velocity [B, G, H, A], toward noise, whitened units.

  Args:
    params: of `init_params`.
    out: of `prefix`.
    proprio: [B, P] as observed; whitened here.
    noisy: [B, G, H, A] G whitened noisy chunks per prefix.
    time: [B, G] or [1, 1] in [0, 1], 1 is pure noise.
    config: static.
  """
  if proprio.shape[1:] != (config.proprio_dim,):
    raise ValueError(
      f'proprio must be [B, {config.proprio_dim}]: {proprio.shape}.'
    )
  # Statistics are no weights: no training moves them.
  norm = jax.lax.stop_gradient(params['norm'])
  proprio = (proprio - norm.proprio_mean) / norm.proprio_std
  expert = Expert(config)
  return expert.apply({'params': params['expert']}, out, proprio, noisy, time)


def sample(
  params: Params, observation: Observation, noise: Array, *, config: PiConfig
) -> tuple[Array, PrefixOutput]:
  """Samples chunks [B, H, A] in normalized action units, and their prefix.

  Args:
    params: of `init_params`.
    observation: batched.
    noise: [B, H, A] initial noise of the flow, one draw per row.
    config: static.
  """
  out = prefix(params, observation, config=config)
  shape = (out.tokens.shape[0], config.horizon, config.action_dim)
  if noise.shape != shape:
    raise ValueError(f'noise must have the shape {shape}: {noise.shape}.')
  step = 1.0 / config.euler_steps

  def euler(x, time):
    v = velocity(
      params, out, observation.proprio, x, time[None, None], config=config
    )
    return x - step * v, None

  times = 1.0 - step * jnp.arange(config.euler_steps)
  x, _ = jax.lax.scan(euler, noise[:, None], times)
  norm = params['norm']
  return x[:, 0] * norm.chunk_std + norm.chunk_mean, out
