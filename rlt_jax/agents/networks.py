"""Networks that the baselines share: an MLP and an ensemble of critics.

RLT has networks of its own.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.agent import Sizes
from rlt_jax.types import Array


class Mlp(nn.Module):
  """ReLU layers and a linear output.

  layer_norm: before each ReLU, without scale or bias, which would let values
    grow without limit. zero_output: whether the output begins as zero.
  """

  hidden_dims: tuple[int, ...]
  out_dim: int
  layer_norm: bool = False
  zero_output: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., in] to [..., out_dim]."""
    for width in self.hidden_dims:
      x = nn.Dense(width)(x)
      if self.layer_norm:
        x = nn.LayerNorm(use_scale=False, use_bias=False)(x)
      x = nn.relu(x)
    init = nn.initializers.zeros if self.zero_output else None
    return nn.Dense(self.out_dim, **({'kernel_init': init} if init else {}))(x)


class Critics(nn.Module):
  """Values of a state and an action by independent networks."""

  hidden_dims: tuple[int, ...]
  num_critics: int
  layer_norm: bool = True

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, action: Array) -> Array:
    """Maps [..., Z], [..., P] and a flat action [..., D] to values [..., Q]."""
    x = jnp.concatenate([z_rl, proprio, action], axis=-1)
    # A loop, as vmapped critics are slower on a CPU.
    values = [
      Mlp(self.hidden_dims, 1, self.layer_norm, name=f'critic_{i}')(x)
      for i in range(self.num_critics)
    ]
    return jnp.concatenate(values, axis=-1)


def moving_entries(sizes: Sizes) -> np.ndarray:
  """Returns the indices of the action entries that move in this task.

  Raises:
    ValueError: none does.
  """
  moving = np.setdiff1d(np.arange(sizes.action_dim), sizes.frozen_action_dims)
  if not len(moving):
    raise ValueError(
      f'frozen_action_dims must leave one of {sizes.action_dim} entries: '
      f'{sizes.frozen_action_dims}.'
    )
  return moving


def flatten(chunk: Array, entries: np.ndarray) -> Array:
  """Returns the entries of chunks [..., C, A] as [..., C * entries]."""
  kept = chunk[..., entries]
  return kept.reshape(*kept.shape[:-2], -1)


def all_finite(tree: Any) -> Array:
  """Returns 1 if every number of a tree is finite, else 0; float32 []."""
  finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
  return jnp.all(jnp.stack(finite)).astype(jnp.float32)


def check_rates(**rates: float) -> None:
  """Raises ValueError for a learning rate that is not positive."""
  for name, value in rates.items():
    if not value > 0.0:
      raise ValueError(f'{name} must be positive: {value}.')


def check_counts(**counts: int) -> None:
  """Raises ValueError for a count below 1."""
  for name, value in counts.items():
    if value < 1:
      raise ValueError(f'{name} must be at least 1: {value}.')


def check_critics(
  hidden_dims: tuple[int, ...],
  tau: float,
  target_clip: tuple[float, float] | None,
) -> None:
  """Raises ValueError for settings of critics that cannot be."""
  if not hidden_dims or min(hidden_dims) < 1:
    raise ValueError(f'hidden_dims must list positive widths: {hidden_dims}.')
  if not 0.0 < tau <= 1.0:
    raise ValueError(f'tau must be in (0, 1]: {tau}.')
  if target_clip and not target_clip[0] < target_clip[1]:
    raise ValueError(
      f'target_clip must be (low, high), low < high: {target_clip}.'
    )
