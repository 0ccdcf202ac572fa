"""Actor and critic over (z_rl, proprio, chunk), and the exploration noise.

The actor writes the whole chunk itself (Eq. 4): it reads the reference as an
input, and nothing is added to the reference afterward.
"""

from collections.abc import Callable
import dataclasses

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax.agents.rlt.config import NOISE_KINDS, RltConfig
from rlt_jax.agents.rlt.split_dense import SplitDense
from rlt_jax.types import Array, Params, PRNGKey


class _Mlp(nn.Module):
  """ReLU layers and a linear output."""

  hidden: tuple[int, ...]
  out_dim: int
  layer_norm: bool

  @nn.compact
  def __call__(self, *parts: Array) -> Array:
    for i, width in enumerate(self.hidden):
      x = SplitDense(width, name=f'Dense_{i}')(*parts)
      if self.layer_norm:
        # No scale or bias: they would let the values grow without limit again.
        x = nn.LayerNorm(use_scale=False, use_bias=False)(x)
      parts = (nn.relu(x),)
    return SplitDense(self.out_dim, name=f'Dense_{len(self.hidden)}')(*parts)


class Actor(nn.Module):
  """Mean of the action chunk given the state and the reference (Eq. 4)."""

  config: RltConfig
  chunk_size: int
  action_dim: int

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, ref_chunk: Array) -> Array:
    """Maps [..., Z], [..., P], [..., C, A] to the mean chunk [..., C, A]."""
    shape = (*z_rl.shape[:-1], self.chunk_size, self.action_dim)
    chex.assert_shape(ref_chunk, shape)
    moving = moving_entries(self.config.frozen_action_dims, self.action_dim)
    inputs = [z_rl, proprio]
    if self.config.reference_input:
      inputs.append(_flat(ref_chunk[..., moving]))
    mlp = _Mlp(self.config.hidden_dims, self.chunk_size * len(moving), False)
    mean = mlp(*inputs).reshape((*shape[:-1], len(moving)))
    return jnp.zeros(shape, mean.dtype).at[..., moving].set(mean)


class Critic(nn.Module):
  """Q values of a state and an action chunk (Eq. 3)."""

  config: RltConfig

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, action_chunk: Array) -> Array:
    """Maps [..., Z], [..., P], [..., C, A] to values [..., Q]."""
    config = self.config
    moving = moving_entries(config.frozen_action_dims, action_chunk.shape[-1])
    inputs = z_rl, proprio, _flat(action_chunk[..., moving])
    # A loop, as vmapped critics are slower on a CPU.
    values = [
      _Mlp(config.hidden_dims, 1, config.layer_norm, name=f'critic_{q}')(
        *inputs
      )
      for q in range(config.num_critics)
    ]
    return jnp.concatenate(values, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Networks:
  """Pure functions of the two networks and their optimizers.

  Made by `make_networks`; static, so that a function can close over it.

  config: of the agent.
  init_actor, init_critic: key (consumed) -> params.
  actor: (params, z_rl [..., Z], proprio [..., P], ref_chunk [..., C, A]) ->
    mean chunk [..., C, A].
  critic: (params, z_rl, proprio, action_chunk [..., C, A]) -> [..., Q].
  """

  config: RltConfig
  init_actor: Callable[[PRNGKey], Params]
  init_critic: Callable[[PRNGKey], Params]
  actor: Callable[[Params, Array, Array, Array], Array]
  critic: Callable[[Params, Array, Array, Array], Array]
  actor_optimizer: optax.GradientTransformation
  critic_optimizer: optax.GradientTransformation


def make_networks(
  config: RltConfig,
  z_dim: int,
  proprio_dim: int,
  chunk_size: int,
  action_dim: int,
) -> Networks:
  """Builds the actor and the critics for Z, P, C and A.

  Raises:
    ValueError: frozen_action_dims lists an entry that there is not, or all.
  """
  frozen = config.frozen_action_dims or ()
  if any(i >= action_dim for i in frozen):
    raise ValueError(
      f'frozen_action_dims must be below {action_dim}: {frozen}.'
    )
  if not len(moving_entries(frozen, action_dim)):
    raise ValueError(
      f'frozen_action_dims must leave one of {action_dim}: {frozen}.'
    )
  actor = Actor(config, chunk_size, action_dim)
  critic = Critic(config)
  row = (
    jax.ShapeDtypeStruct((1, z_dim), jnp.float32),
    jax.ShapeDtypeStruct((1, proprio_dim), jnp.float32),
    jax.ShapeDtypeStruct((1, chunk_size, action_dim), jnp.float32),
  )
  return Networks(
    config=config,
    init_actor=lambda key: actor.lazy_init(key, *row),
    init_critic=lambda key: critic.lazy_init(key, *row),
    actor=actor.apply,
    critic=critic.apply,
    actor_optimizer=optax.adam(config.actor_lr),
    critic_optimizer=optax.adam(config.critic_lr),
  )


def zero_frozen_dims(
  chunk: Array, frozen_action_dims: tuple[int, ...] | None
) -> Array:
  """Returns the chunk [..., C, A] with its frozen entries at zero, "stay"."""
  if not frozen_action_dims:
    return chunk
  return jnp.asarray(chunk).at[..., np.array(frozen_action_dims)].set(0.0)


def draw_exploration_noise(
  key: PRNGKey, shape: tuple[int, ...], std: Array | float, kind: str
) -> Array:
  """Draws Gaussian noise for chunks.

  Args:
    key: consumed.
    shape: (..., C, A).
    std: [] normalized action units.
    kind: 'per_chunk' repeats one draw per action entry over the C steps, which
      moves the arm instead of shaking it; 'per_step' draws every step.

  Returns:
    Noise [..., C, A].
  """
  if kind not in NOISE_KINDS:
    raise ValueError(f'noise must be one of {NOISE_KINDS}: {kind!r}.')
  *lead, chunk_size, action_dim = shape
  steps = 1 if kind == 'per_chunk' else chunk_size
  draw = jax.random.normal(key, (*lead, steps, action_dim))
  return std * jnp.broadcast_to(draw, shape)


def act(
  nets: Networks,
  actor_params: Params,
  z_rl: Array,
  proprio: Array,
  ref_chunk: Array,
  key: PRNGKey,
  std: Array | float,
) -> Array:
  """Samples action chunks [B, C, A] from the actor (Eq. 4).

  Args:
    nets, actor_params: the networks and the actor's params.
    z_rl, proprio, ref_chunk: [B, Z], [B, P], [B, C, A].
    key: consumed.
    std: [] of the noise, normalized action units; 0 gives the mean.

  Returns:
    Chunks [B, C, A] in normalized action units.
  """
  mean = nets.actor(actor_params, z_rl, proprio, ref_chunk)
  noise = draw_exploration_noise(
    key, mean.shape, std, nets.config.exploration_noise
  )
  return mean + zero_frozen_dims(noise, nets.config.frozen_action_dims)


def moving_entries(
  frozen_action_dims: tuple[int, ...] | None, action_dim: int
) -> np.ndarray:
  """Returns the indices of the action entries that the actor moves."""
  return np.setdiff1d(np.arange(action_dim), frozen_action_dims or ())


def _flat(chunk: Array) -> Array:
  return chunk.reshape((*chunk.shape[:-2], -1))
