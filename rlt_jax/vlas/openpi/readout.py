"""A loss of the prefix's own, for a model that is trained from scratch.

The flow gives the last block of the prefix no gradient, and teaches the rest to
see only as far as it lowers the error of the actions. On few demonstrations
that takes long. Published weights have learned to see before. This loss stands
in for it: a linear map of the image tokens regresses how the tip has yet to
move and turn until the demonstration's end. The map is no part of the model and
is not written.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Params, PRNGKey
from rlt_jax.vlas import motion_targets
from rlt_jax.vlas.openpi.model import PrefixOutput
from rlt_jax.vlas.openpi.model_config import ModelConfig

_WIDTH = 32  # numbers that a token hands to the map


class TargetNorm(NamedTuple):
  """Mean and deviation of the targets, float32 [12]."""

  mean: np.ndarray
  std: np.ndarray


def measure(motion: np.ndarray | None) -> TargetNorm:
  """Measures the targets of training frames, `DemoBatch.remaining_motion`.

  Raises:
    ValueError: demonstrations that do not know it.
  """
  if motion is None:
    raise ValueError(
      'prefix_weight must be 0 for demonstrations without remaining_motion, '
      'which it learns from. A mapping can name its column.'
    )
  found = np.asarray(motion_targets.make(motion), np.float64)
  # Axes that hardly move must not weigh as much as the others.
  std = found.std(0).reshape(4, 3)
  std = np.maximum(std, 0.3 * np.sqrt(np.square(std).mean(1, keepdims=True)))
  if not std.all():
    raise ValueError('remaining_motion must differ between frames.')
  numbers = found.mean(0), std.reshape(-1)
  return TargetNorm(*(x.astype(np.float32) for x in numbers))


def init(key: PRNGKey, config: ModelConfig, cameras: int) -> Params:
  """Returns the untrained map of K cameras."""
  width = config.prefix.width
  places = cameras * config.tower.tokens * _WIDTH
  return {
    'token': width**-0.5 * jax.random.normal(key, (width, _WIDTH)),
    'out': jnp.zeros((places, motion_targets.SIZE)),
    'bias': jnp.zeros(motion_targets.SIZE),
  }


def predict(params: Params, prefix: PrefixOutput) -> Array:
  """Returns whitened targets [B, 12] of a prefix."""
  places = len(params['out']) // _WIDTH
  x = prefix.tokens[:, :places].astype(jnp.float32) @ params['token']
  return x.reshape(len(x), -1) @ params['out'] + params['bias']


def loss(
  params: Params, prefix: PrefixOutput, motion: Array, norm: TargetNorm
) -> Array:
  """Returns the mean square error [] of whitened targets."""
  target = (motion_targets.make(motion) - norm.mean) / norm.std
  return jnp.square(predict(params, prefix) - target).mean()
