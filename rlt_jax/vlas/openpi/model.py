"""π0 and π0.5 as functions of openpi's parameters.

A query runs the image tower once, then the prefix once; its keys and values
serve all steps of the flow. The flow starts from noise at time 1 and ends with
a chunk at time 0.
"""

from typing import NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp

from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas.openpi import experts, tower
from rlt_jax.vlas.openpi.model_config import arrays, ModelConfig

_PERIODS = (4e-3, 4.0)  # of the time features; time lies in [0, 1]


class ModelInputs(NamedTuple):
  """What the prefix and the state token read; B rows, K cameras.

  images: uint8 [B, K, S, S, 3] in the order of openpi's camera slots. A slot
    that the robot has no camera for is left out.
  image_mask: bool [B, K], False for a camera that is missing in a row.
  prompt: int32 [B, L] words, 0 is padding, anywhere.
  state: float32 [B, action_dim] normalized, zeros behind the robot's entries.
    π0.5 does not read it.
  """

  images: Array
  image_mask: Array
  prompt: Array
  state: Array


class PrefixOutput(NamedTuple):
  """One pass over images and words; zero where padding.

  tokens: [B, N, D] after the final norm, image tokens first.
  entering: [B, N, D] what enters the last block, normed.
  mask, image_mask: bool [B, N]; image_mask is True for every camera slot.
  cache: keys and values of all layers.
  """

  tokens: Array
  entering: Array
  mask: Array
  image_mask: Array
  cache: experts.KeysValues


def init_params(key: PRNGKey, config: ModelConfig) -> Params:
  """Returns untrained float32 params, nested as openpi names them."""
  specs = arrays(config)
  keys = dict(zip(specs, jax.random.split(key, len(specs)), strict=True))

  def make(name, spec):
    if spec.deviation is None:
      return jnp.ones(spec.shape)
    if spec.deviation == 0.0:
      return jnp.zeros(spec.shape)
    return spec.deviation * jax.random.normal(keys[name], spec.shape)

  flat = {name: make(name, spec) for name, spec in specs.items()}
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def embed_prefix(
  params: Params, inputs: ModelInputs, config: ModelConfig
) -> tuple[Array, Array]:
  """Returns images and words as [B, N, D], and bool [B, N], False padding."""
  B, K = inputs.images.shape[:2]
  images = inputs.images.reshape(B * K, *inputs.images.shape[2:])
  pali = params['PaliGemma']
  x = tower.embed_images(pali['img'], images, config.tower, config.dtype)
  x = x.reshape(B, -1, x.shape[-1])
  table = pali['llm']['embedder']['input_embedding']
  # The root is rounded to the table's type, as openpi does.
  words = table[inputs.prompt] * jnp.asarray(table.shape[1] ** 0.5, table.dtype)
  seen = jnp.repeat(inputs.image_mask, config.tower.tokens, axis=1)
  mask = jnp.concatenate([seen, inputs.prompt != 0], axis=1)
  return jnp.concatenate([x, words.astype(x.dtype)], axis=1), mask


def run_prefix(
  params: Params, inputs: ModelInputs, config: ModelConfig
) -> PrefixOutput:
  """Runs tower and prefix once; every step of the flow reuses the result."""
  x, mask = embed_prefix(params, inputs, config)
  count = inputs.images.shape[1] * config.tower.tokens
  image_mask = jnp.broadcast_to(jnp.arange(x.shape[1]) < count, mask.shape)
  tokens, entering, cache = experts.run_prefix(
    params['PaliGemma']['llm'], x, mask
  )
  # Rows of padding attend to what they should not: they mean nothing.
  tokens, entering = (
    jnp.where(mask[..., None], x, 0) for x in (tokens, entering)
  )
  return PrefixOutput(tokens, entering, mask, image_mask, cache)


def time_features(time: Array, width: int) -> Array:
  """Returns sines, then cosines [b, width] of times [b] in [0, 1]."""
  low, high = _PERIODS
  share = jnp.linspace(0.0, 1.0, width // 2, dtype=jnp.float32)
  period = low * (high / low) ** share
  angle = time[:, None].astype(jnp.float32) * (2.0 * jnp.pi / period)
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def condition(params: Params, time: Array, config: ModelConfig):
  """Returns all that the expert reads of times [b]; leaves lead with [b].

  For π0 the time features [b, W], for π0.5 the `Modulation` of its norms. It
  depends on nothing but time and weights.
  """
  features = time_features(time, config.expert.width)
  if not config.is_pi05:
    return features
  vector = time_vector(params, features)
  return experts.modulate(params['PaliGemma']['llm'], vector, config.dtype)


def time_vector(params: Params, features: Array) -> Array:
  """Maps π0.5's time features [b, W] to the vector its norms read."""
  x = jax.nn.swish(_linear(params['time_mlp_in'], features))
  return jax.nn.swish(_linear(params['time_mlp_out'], x))


def embed_suffix(
  params: Params, state: Array, noisy: Array, change, config: ModelConfig
) -> Array:
  """Returns the suffix's tokens [B, n, W]: state (π0), then actions.

  Args:
    params: of the model.
    state: [B, action_dim].
    noisy: [B, H, action_dim].
    change: of `condition`, b is B or 1.
    config: static.
  """
  x = _linear(params['action_in_proj'], noisy)
  if config.is_pi05:
    return x.astype(config.dtype)
  time = jnp.broadcast_to(change[:, None].astype(x.dtype), x.shape)
  x = jnp.concatenate([x, time], axis=-1)
  x = jax.nn.swish(_linear(params['action_time_mlp_in'], x))
  x = _linear(params['action_time_mlp_out'], x)
  first = _linear(params['state_proj'], state)[:, None]
  return jnp.concatenate([first, x], axis=1).astype(config.dtype)


def velocity(
  params: Params,
  prefix: PrefixOutput,
  state: Array,
  noisy: Array,
  change,
  config: ModelConfig,
) -> Array:
  """Returns the flow's velocity [B, H, action_dim], toward the noise.

  Args:
    params: of the model.
    prefix: of `run_prefix`.
    state: [B, action_dim], as `ModelInputs` has it.
    noisy: [B, H, action_dim].
    change: of `condition` of the time, b is B or 1.
    config: static.
  """
  x = embed_suffix(params, state, noisy, change, config)
  n = x.shape[1]
  visible = jnp.ones((n, n), bool)
  if not config.is_pi05:  # the state token sees no action
    visible = visible.at[0, 1:].set(False)
  x = experts.run_suffix(
    params['PaliGemma']['llm'],
    x,
    change if config.is_pi05 else None,
    prefix.cache,
    prefix.mask,
    visible,
  )
  weights = params['action_out_proj']
  return _linear(weights, x[:, -noisy.shape[1] :])


def sample(
  params: Params,
  prefix: PrefixOutput,
  state: Array,
  noise: Array,
  *,
  config: ModelConfig,
  steps: int = 10,
) -> Array:
  """Returns normalized chunks float32 [B, H, action_dim].

  Args:
    params: of the model.
    prefix: of `run_prefix`.
    state: [B, action_dim], as `ModelInputs` has it.
    noise: [B, H, action_dim], the chunk at time 1.
    config, steps: static; Euler steps from noise to chunk.
  """
  times = 1.0 - jnp.arange(steps, dtype=jnp.float32) / steps
  # Once for all steps: each would read the norms' weights again.
  changes = jax.tree.map(lambda x: x[:, None], condition(params, times, config))

  def euler(x, change):
    v = velocity(params, prefix, state, x, change, config)
    return x - v.astype(jnp.float32) / steps, None

  return jax.lax.scan(euler, noise.astype(jnp.float32), changes)[0]


def flow_error(
  params: Params,
  inputs: ModelInputs,
  actions: Array,
  noise: Array,
  time: Array,
  config: ModelConfig,
) -> tuple[Array, Array]:
  """Returns the flow's loss [B, H] and the velocity it is made of.

  Args:
    params: of the model.
    inputs: of B frames.
    actions: [B, H, action_dim] normalized, zeros behind the robot's entries.
    noise: the same shape, standard normal.
    time: [B] in [0, 1].
    config: static.
  """
  prefix = run_prefix(params, inputs, config)
  return _flow_error(params, prefix, inputs, actions, noise, time, config)


def _flow_error(params, prefix, inputs, actions, noise, time, config):
  """Returns what `flow_error` does, behind a prefix that is computed."""
  t = time[:, None, None]
  noisy = t * noise + (1.0 - t) * actions
  change = condition(params, time, config)
  v = velocity(params, prefix, inputs.state, noisy, change, config)
  v = v.astype(jnp.float32)
  return jnp.square(v - (noise - actions)).mean(-1), v


def flow_loss(
  params: Params,
  inputs: ModelInputs,
  actions: Array,
  key: PRNGKey,
  config: ModelConfig,
  draws: int = 1,
) -> Array:
  """Returns the training loss [B, H]; draws noise and time, consumes `key`.

  The flow gives the last block of the prefix no gradient but to its keys and
  values, and the prefix's final norm none.

  Args:
    params: of the model.
    inputs: of B frames.
    actions: as for `flow_error`.
    key: consumed.
    config: static.
    draws: static; pairs of noise and time, for each frame, whose mean it
      returns. The prefix runs once for all of them.
  """
  prefix = run_prefix(params, inputs, config)
  return flow_loss_behind(prefix, params, inputs, actions, key, config, draws)


def flow_loss_behind(
  prefix: PrefixOutput,
  params: Params,
  inputs: ModelInputs,
  actions: Array,
  key: PRNGKey,
  config: ModelConfig,
  draws: int = 1,
) -> Array:
  """Returns `flow_loss` behind a prefix that is computed, by `run_prefix`."""

  def error(key):
    noise_key, time_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, actions.shape)
    time = jax.random.beta(time_key, 1.5, 1.0, actions.shape[:1])
    time = 0.999 * time + 0.001
    return _flow_error(params, prefix, inputs, actions, noise, time, config)[0]

  if draws == 1:
    return error(key)
  return jax.vmap(error)(jax.random.split(key, draws)).mean(0)


def _linear(weights, x):
  """A layer of the type that its input and weights share, as openpi's."""
  dtype = jnp.promote_types(x.dtype, weights['kernel'].dtype)
  kernel, bias = (weights[n].astype(dtype) for n in ('kernel', 'bias'))
  return x.astype(dtype) @ kernel + bias
