"""Actor and critic over (z_rl, proprio, chunk), and the exploration noise.

The actor writes the whole chunk itself (Eq. 4): it reads the reference as an
input, and nothing is added to the reference afterwards.
"""

from collections.abc import Callable
import dataclasses

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Params, PRNGKey

NOISE_KINDS = ('per_chunk', 'per_step')

# Uniform in +-1/sqrt(fan in): a third of the variance of Linen's default, so
# that a fresh actor moves by about a third of a normalised unit, not by one.
_KERNEL_INIT = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentConfig:
  """Sizes of the actor and the critics, and how the actor explores."""

  hidden_dims: tuple[int, ...] = (256, 256)  # widths of the hidden layers
  num_critics: int = 2  # Q; the target takes the smallest of them
  exploration_std: float = 1.0  # exploration std, normalised action units
  exploration_noise: str = 'per_chunk'  # one draw a chunk; or 'per_step'
  reference_input: bool = True  # False: the actor never sees the reference
  layer_norm: bool = True  # critics only; without it their values run away
  # Action entries that always stay (zero), such as a resting arm's joints.
  # Left free they drift on the critics' errors until the cameras show what
  # the frozen VLA has never seen. The networks neither read nor write them.
  frozen_action_dims: tuple[int, ...] = ()

  def __post_init__(self):
    if not self.hidden_dims or min(self.hidden_dims) < 1:
      raise ValueError(
        f'hidden_dims must list positive widths: {self.hidden_dims}.'
      )
    if self.num_critics < 1:
      raise ValueError(f'num_critics must be at least 1: {self.num_critics}.')
    if any(i < 0 for i in self.frozen_action_dims):
      raise ValueError(
        f'frozen_action_dims must not be negative: {self.frozen_action_dims}.'
      )
    if self.exploration_std < 0.0:
      raise ValueError(
        f'exploration_std must not be negative: {self.exploration_std}.'
      )
    if self.exploration_noise not in NOISE_KINDS:
      raise ValueError(
        f'exploration_noise must be one of {NOISE_KINDS}: '
        f'{self.exploration_noise!r}.'
      )


@jax.custom_vjp
def _product(parts: tuple[Array, ...], kernel: Array) -> Array:
  """Multiplies inputs, in parts [..., K_i], by the kernel [sum of K_i, N].

  Backwards it is a product for each part, so one that nobody asks for is not
  computed: the actor's step needs the gradient of the chunk, not of z_rl.
  """
  return jnp.concatenate(parts, axis=-1) @ kernel


def _product_forward(parts, kernel):
  return _product(parts, kernel), (parts, kernel)


def _product_backward(residuals, grad):
  parts, kernel = residuals
  ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
  inputs = jnp.concatenate(parts, axis=-1)
  return (
    tuple(grad @ rows.T for rows in jnp.split(kernel, ends)),
    jnp.einsum('...k,...n->kn', inputs, grad),
  )


_product.defvjp(_product_forward, _product_backward)


class _Dense(nn.Module):
  """Linen's Dense, over inputs that come in parts."""

  width: int

  @nn.compact
  def __call__(self, *parts: Array) -> Array:
    inputs = sum(part.shape[-1] for part in parts)
    kernel = self.param('kernel', _KERNEL_INIT, (inputs, self.width))
    bias = self.param('bias', nn.initializers.zeros_init(), (self.width,))
    return _product(parts, kernel) + bias


class _Mlp(nn.Module):
  """ReLU layers and a linear output."""

  hidden: tuple[int, ...]
  out_dim: int
  layer_norm: bool

  @nn.compact
  def __call__(self, *parts: Array) -> Array:
    for i, width in enumerate(self.hidden):
      x = _Dense(width, name=f'Dense_{i}')(*parts)
      if self.layer_norm:
        # No scale or bias: they would let the values grow without limit again.
        x = nn.LayerNorm(use_scale=False, use_bias=False)(x)
      parts = (nn.relu(x),)
    return _Dense(self.out_dim, name=f'Dense_{len(self.hidden)}')(*parts)


class Actor(nn.Module):
  """Mean of the action chunk given the state and the reference (Eq. 4)."""

  config: AgentConfig
  chunk: int
  action_dim: int

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, ref_chunk: Array) -> Array:
    """Maps [..., Z], [..., P], [..., C, A] to the mean chunk [..., C, A]."""
    shape = (*z_rl.shape[:-1], self.chunk, self.action_dim)
    chex.assert_shape(ref_chunk, shape)
    moving = _moving_entries(self.config.frozen_action_dims, self.action_dim)
    inputs = [z_rl, proprio]
    if self.config.reference_input:
      inputs.append(_flat(ref_chunk[..., moving]))
    mlp = _Mlp(self.config.hidden_dims, self.chunk * len(moving), False)
    mean = mlp(*inputs).reshape((*shape[:-1], len(moving)))
    return jnp.zeros(shape, mean.dtype).at[..., moving].set(mean)


class Critic(nn.Module):
  """Q values of a state and an action chunk (Eq. 3)."""

  config: AgentConfig

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, action_chunk: Array) -> Array:
    """Maps [..., Z], [..., P], [..., C, A] to values [..., Q]."""
    config = self.config
    moving = _moving_entries(config.frozen_action_dims, action_chunk.shape[-1])
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
  """Pure functions of the two networks; made by `make_networks`.

  init_actor, init_critic: key (consumed) -> params.
  actor: (params, z_rl [..., Z], proprio [..., P], ref_chunk [..., C, A]) ->
    mean chunk [..., C, A].
  critic: (params, z_rl, proprio, action_chunk [..., C, A]) -> [..., Q].
  """

  config: AgentConfig
  init_actor: Callable[[PRNGKey], Params]
  init_critic: Callable[[PRNGKey], Params]
  actor: Callable[[Params, Array, Array, Array], Array]
  critic: Callable[[Params, Array, Array, Array], Array]


def make_networks(
  config: AgentConfig,
  z_dim: int,
  proprio_dim: int,
  chunk: int,
  action_dim: int,
) -> Networks:
  """Builds the actor and the critics for Z, P, C and A."""
  if any(i >= action_dim for i in config.frozen_action_dims):
    raise ValueError(
      f'frozen_action_dims must be below {action_dim}: '
      f'{config.frozen_action_dims}.'
    )
  if not len(_moving_entries(config.frozen_action_dims, action_dim)):
    raise ValueError(
      f'frozen_action_dims must leave one of {action_dim}: '
      f'{config.frozen_action_dims}.'
    )
  actor = Actor(config, chunk, action_dim)
  critic = Critic(config)
  row = (
    jax.ShapeDtypeStruct((1, z_dim), jnp.float32),
    jax.ShapeDtypeStruct((1, proprio_dim), jnp.float32),
    jax.ShapeDtypeStruct((1, chunk, action_dim), jnp.float32),
  )

  def init(module: nn.Module, key: PRNGKey) -> Params:
    return module.lazy_init(key, *row)

  return Networks(
    config=config,
    init_actor=lambda key: init(actor, key),
    init_critic=lambda key: init(critic, key),
    actor=actor.apply,
    critic=critic.apply,
  )


def zero_frozen_dims(
  chunk: Array, frozen_action_dims: tuple[int, ...]
) -> Array:
  """Returns the chunk [..., C, A] with its idle entries at zero, "stay"."""
  if not frozen_action_dims:
    return chunk
  return jnp.asarray(chunk).at[..., np.array(frozen_action_dims)].set(0.0)


def draw_exploration_noise(
  key: PRNGKey, shape: tuple[int, ...], sigma: Array | float, kind: str
) -> Array:
  """Draws Gaussian noise for chunks.

  Args:
    key: consumed.
    shape: (..., C, A).
    sigma: [] std, normalised action units.
    kind: 'per_chunk' repeats one draw per action entry over the C steps, which
      moves the arm instead of shaking it; 'per_step' draws every step.

  Returns:
    Noise [..., C, A].
  """
  if kind not in NOISE_KINDS:
    raise ValueError(f'noise must be one of {NOISE_KINDS}: {kind!r}.')
  *lead, chunk, action_dim = shape
  steps = 1 if kind == 'per_chunk' else chunk
  draw = jax.random.normal(key, (*lead, steps, action_dim))
  return sigma * jnp.broadcast_to(draw, shape)


def act(
  nets: Networks,
  actor_params: Params,
  z_rl: Array,
  proprio: Array,
  ref_chunk: Array,
  key: PRNGKey,
  sigma: Array | float,
) -> Array:
  """Samples action chunks [B, C, A] from the actor (Eq. 4).

  Args:
    nets, actor_params: the networks and the actor's params.
    z_rl, proprio, ref_chunk: [B, Z], [B, P], [B, C, A].
    key: consumed.
    sigma: [] std, normalised action units; 0 gives the mean.

  Returns:
    Chunks [B, C, A] in normalised action units.
  """
  mean = nets.actor(actor_params, z_rl, proprio, ref_chunk)
  noise = draw_exploration_noise(
    key, mean.shape, sigma, nets.config.exploration_noise
  )
  return mean + zero_frozen_dims(noise, nets.config.frozen_action_dims)


def _flat(chunk: Array) -> Array:
  return chunk.reshape((*chunk.shape[:-2], -1))


def _moving_entries(
  frozen_action_dims: tuple[int, ...], action_dim: int
) -> np.ndarray:
  """Returns the indices of the action entries that the actor moves."""
  return np.setdiff1d(np.arange(action_dim), frozen_action_dims)
