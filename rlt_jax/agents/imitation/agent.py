"""Pure imitation of the reference: an actor without critics.

It minimizes the squared distance to the VLA's chunk, the beta term of Eq. 5
without the value. It can be no better than the VLA: a baseline for what the
critics add.
"""

import functools
from typing import Any

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import replay
from rlt_jax.agents.agent import Agent, Metrics, MlpPolicy, Sample, Sizes
from rlt_jax.agents.imitation.config import ImitationConfig
from rlt_jax.types import Array, Features, Params, PRNGKey, Transition


@chex.dataclass(frozen=True)
class ImitationState:
  """What the agent carries from one update to the next.

  params, opt_state: of the actor. updates: int32 [], made so far. key: consumed
  and replaced by every update.
  """

  params: Params
  opt_state: optax.OptState
  updates: Array
  key: PRNGKey


class Actor(nn.Module):
  """A ReLU MLP from z_rl, proprio and the reference to the chunk.

  Frozen entries of the chunk are zero.
  """

  hidden_dims: tuple[int, ...]
  sizes: Sizes

  @nn.compact
  def __call__(self, z_rl: Array, proprio: Array, reference: Array) -> Array:
    """Maps [..., Z], [..., P], [..., C, A] to the chunk [..., C, A]."""
    flat = reference.reshape((*reference.shape[:-2], -1))
    x = jnp.concatenate([z_rl, proprio, flat], axis=-1)
    for width in self.hidden_dims:
      x = nn.relu(nn.Dense(width)(x))
    x = nn.Dense(flat.shape[-1])(x).reshape(reference.shape)
    return jnp.where(_moves(self.sizes), x, 0.0)


def make(config: ImitationConfig, sizes: Sizes) -> Agent:
  """Builds the agent; see `agents.agent.Agent`."""
  actor = Actor(config.hidden_dims, sizes)
  optimizer = optax.adam(config.learning_rate)
  row = replay.transition_spec(*sizes[:4])

  def init(key: PRNGKey) -> ImitationState:
    key, init_key = jax.random.split(key)
    one = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype),
      (row.z_rl, row.proprio, row.ref_chunk),
    )
    params = actor.lazy_init(init_key, *one)
    return ImitationState(
      params=params,
      opt_state=optimizer.init(params),
      updates=jnp.zeros((), jnp.int32),
      key=key,
    )

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    mean = actor.apply(
      params, features.z_rl, features.proprio, features.reference
    )
    # One draw for the whole chunk moves the arm instead of shaking it.
    noise = jax.random.normal(key, (len(mean), 1, sizes.action_dim))
    noise = config.exploration_std * explore * noise
    return mean + jnp.where(_moves(sizes), noise, 0.0)

  return Agent(
    config=config,
    batch_size=config.batch_size,
    updates_per_dispatch=config.updates_per_dispatch,
    # It reads no action, reward or successor.
    row_spec=Transition(*[None] * len(Transition._fields))._replace(
      z_rl=row.z_rl, proprio=row.proprio, ref_chunk=row.ref_chunk
    ),
    init=init,
    update=functools.partial(update, actor, optimizer, config),
    num_updates=lambda state: state.updates,
    policy_params=lambda state: state.params,
    act=act,
    mlp_policy=MlpPolicy(
      apply=actor.apply,
      layers=layers_of,
      hidden_dims=config.hidden_dims,
      reference_input=True,
      frozen_action_dims=tuple(sizes.frozen_action_dims),
      exploration_std=config.exploration_std,
    ),
  )


def update(
  actor: Actor,
  optimizer: optax.GradientTransformation,
  config: ImitationConfig,
  state: ImitationState,
  replay_state: Any,
  sample: Sample,
) -> tuple[ImitationState, Metrics]:
  """Runs `config.updates_per_dispatch` gradient steps.

  Args:
    actor, optimizer, config: static.
    state: donate it when jitting.
    replay_state: read only; holds at least one batch of rows.
    sample: static; draws B rows.

  Returns:
    The new state, and actor_loss and finite; see `agents.agent.Agent`.
  """

  def step(state: ImitationState, _) -> tuple[ImitationState, Array]:
    key, sample_key, dropout_key = jax.random.split(state.key, 3)
    batch = sample(replay_state, sample_key)
    loss, grads = jax.value_and_grad(imitation_loss)(
      state.params, actor, batch, dropout_key, config.reference_dropout
    )
    change, opt_state = optimizer.update(grads, state.opt_state)
    state = ImitationState(
      params=optax.apply_updates(state.params, change),
      opt_state=opt_state,
      updates=state.updates + 1,
      key=key,
    )
    return state, loss

  state, losses = jax.lax.scan(step, state, length=config.updates_per_dispatch)
  finite = [
    jnp.all(jnp.isfinite(x)) for x in (losses, *jax.tree.leaves(state.params))
  ]
  return state, {
    'actor_loss': jnp.mean(losses),
    'finite': jnp.all(jnp.stack(finite)).astype(jnp.float32),
  }


def imitation_loss(
  params: Params,
  actor: Actor,
  batch: Transition,
  key: PRNGKey,
  reference_dropout: float,
) -> Array:
  """Returns the squared distance to the reference [], summed over C and A.

  Args:
    params, actor: whose chunk it is.
    batch: rows [B, ...]; the loss is their mean.
    key: consumed; hides whole references from the actor's input.
    reference_dropout: share of rows whose reference is hidden.
  """
  reference = jnp.where(_moves(actor.sizes), batch.ref_chunk, 0.0)
  shown = jax.random.bernoulli(
    key, 1.0 - reference_dropout, reference.shape[:1]
  )
  ref_input = jnp.where(shown[:, None, None], batch.ref_chunk, 0.0)
  chunk = actor.apply(params, batch.z_rl, batch.proprio, ref_input)
  return jnp.mean(jnp.sum((chunk - reference) ** 2, axis=(1, 2)))


def layers_of(params: Params) -> list[np.ndarray]:
  """Returns kernels [in, out] and biases [out], alternating."""
  dense = params['params']
  return [
    np.asarray(dense[f'Dense_{i}'][name], np.float32)
    for i in range(len(dense))
    for name in ('kernel', 'bias')
  ]


def _moves(sizes: Sizes) -> np.ndarray:
  """Returns bool [A], False for frozen entries."""
  return ~np.isin(np.arange(sizes.action_dim), sizes.frozen_action_dims)
