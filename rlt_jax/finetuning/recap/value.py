"""A distribution over returns, from pooled tokens and proprioception."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from rlt_jax.finetuning.recap.config import RecapConfig
from rlt_jax.types import Array, Observation
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demos import DemoBatch
from rlt_jax.vlas.pi_small import model
from rlt_jax.vlas.pi_small.pi_vla import PiVla

_ROWS = 64  # frames at a time through the VLA's prefix


class Fitted(NamedTuple):
  """values: [F] of all frames. rank: of held-out ones, see `rank`."""

  values: np.ndarray
  rank: float


def bin_of(target: Array, bins: int) -> Array:
  """Returns the number of the nearest of `bins` centers from -1 to 0, int32."""
  place = (jnp.asarray(target) + 1.0) * (bins - 1)
  return jnp.clip(jnp.round(place), 0, bins - 1).astype(jnp.int32)


def mean_of(logits: Array) -> Array:
  """Returns the expected return [...] of logits [..., bins]."""
  centers = jnp.linspace(-1.0, 0.0, logits.shape[-1])
  return jax.nn.softmax(logits) @ centers


def rank(values: np.ndarray, wanted: np.ndarray) -> float:
  """Returns Spearman's correlation; 0 where one of them is constant."""
  if np.ptp(values) == 0.0 or np.ptp(wanted) == 0.0:
    return 0.0
  return float(stats.spearmanr(values, wanted).statistic)


def features(vla: PiVla, frames: DemoBatch) -> np.ndarray:
  """Returns the mean image token and normalized state of frames, [F, D + P].

  Args:
    vla: whose prefix reads them.
    frames: [F], with the instruction alone as prompt.
  """
  config, count = vla.config, len(frames.proprio)
  norm = vla.params['norm']

  @jax.jit
  def read(params, observation: Observation) -> Array:
    out = model.prefix(params, observation, config=config)
    tokens = out.tokens[:, : config.num_image_tokens].mean(axis=1)
    state = (observation.proprio - norm.proprio_mean) / norm.proprio_std
    return jnp.concatenate([tokens, state], axis=-1)

  parts = []
  for start in range(0, count, _ROWS):
    rows = np.minimum(np.arange(start, start + _ROWS), count - 1)
    batch = demos_lib.take(frames, rows)
    seen = Observation(batch.images, batch.proprio, batch.prompt)
    parts.append(np.asarray(read(vla.params, seen)))
  return np.concatenate(parts)[:count]


def fit(
  inputs: np.ndarray,
  targets: np.ndarray,
  episode: np.ndarray,
  config: RecapConfig,
  seed: int,
) -> Fitted:
  """Trains by cross-entropy on the bins of returns.

  Args:
    inputs: [F, D + P].
    targets: [F] returns in [-1, 0].
    episode: int [F]; whole episodes are held out.
    config: settings.
    seed: of weights, split and order.

  Raises:
    FloatingPointError: the loss is no longer finite.
  """
  rows, held_out = demos_lib.split_episodes(episode, config.held_out, seed)
  mean, std = inputs[rows].mean(axis=0), inputs[rows].std(axis=0) + 1e-3
  x = jnp.asarray((inputs - mean) / std, jnp.float32)
  wanted = bin_of(targets, config.bins)
  net = _Net(config.value_units, config.bins)
  params = net.init(jax.random.key(seed), x[:1])
  optimizer = optax.adam(config.value_rate)
  step = jax.jit(functools.partial(_step, net.apply, optimizer))
  state, order = optimizer.init(params), np.random.default_rng(seed)
  for _ in range(config.value_steps):
    batch = rows[order.integers(len(rows), size=config.value_batch)]
    params, state, loss = step(params, state, x[batch], wanted[batch])
  if not np.isfinite(float(loss)):
    raise FloatingPointError(f'The loss of the value must be finite: {loss}.')
  values = np.asarray(mean_of(net.apply(params, x)))
  return Fitted(values, rank(values[held_out], targets[held_out]))


class _Net(nn.Module):
  """Two layers of ReLU units, and logits."""

  units: int
  bins: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    for _ in range(2):
      x = nn.relu(nn.Dense(self.units)(x))
    return nn.Dense(self.bins)(x)


def _step(apply: Callable[..., Array], optimizer, params, state, x, wanted):
  def loss(params):
    logits = apply(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, wanted
    ).mean()

  value, grads = jax.value_and_grad(loss)(params)
  updates, state = optimizer.update(grads, state)
  return optax.apply_updates(params, updates), state, value
