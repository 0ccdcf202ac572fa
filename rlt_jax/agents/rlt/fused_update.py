"""The fused update: critic steps, an actor step, and nothing on the host."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rlt_jax.agents.rlt import losses, networks
from rlt_jax.agents.rlt.networks import Networks
from rlt_jax.agents.rlt.train_state import TrainState
from rlt_jax.types import Array, PRNGKey, Transition

Metrics = Mapping[str, Array]
# (replay state, key) -> rows [B, ...]; `sample` of `replay.Replay` is one.
Sample = Callable[[Any, PRNGKey], Transition]

# Keeps beta_ratio finite while the critics still answer about 0.
_SMALLEST_Q = 1e-3


def critic_step(
  nets: Networks, state: TrainState, batch: Transition, next_chunk: Array
) -> tuple[TrainState, Metrics]:
  """Fits the critics to their targets, then moves the target critics (Eq. 3).

  Args:
    nets: static.
    state: of the agent.
    batch: rows [B, ...].
    next_chunk: [B, C, A] the actor's chunks at the rows' successors.
  """
  config = nets.config
  next_q = nets.critic(
    state.target_critic_params, batch.next_z_rl, batch.next_proprio, next_chunk
  )

  def loss_fn(params) -> tuple[Array, tuple[Array, Array]]:
    q = nets.critic(params, batch.z_rl, batch.proprio, batch.action_chunk)
    loss, target = jax.vmap(losses.critic_loss, (0, 0, 0, 0, None))(
      q, batch.reward, batch.discount, next_q, config.target_clip
    )
    return jnp.mean(loss), (q, target)

  (loss, (q, target)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.critic_params
  )
  step, opt_state = nets.critic_optimizer.update(grads, state.critic_opt)
  params = optax.apply_updates(state.critic_params, step)
  state = state.replace(
    critic_params=params,
    critic_opt=opt_state,
    target_critic_params=optax.incremental_update(
      params, state.target_critic_params, config.tau
    ),
    critic_updates=state.critic_updates + 1,
  )
  return state, {
    'critic_loss': loss,
    'q_mean': jnp.mean(q),
    'target_mean': jnp.mean(target),
    'td_abs': jnp.mean(jnp.abs(target[:, None] - q)),
  }


def actor_step(
  nets: Networks, state: TrainState, batch: Transition, key: PRNGKey
) -> tuple[TrainState, Metrics]:
  """Moves the actor up the critics, held near the reference by beta (Eq. 5).

  Args:
    nets: static.
    state: of the agent.
    batch: rows [B, ...].
    key: consumed.
  """
  config = nets.config
  dropout_key, noise_key = jax.random.split(key)
  shown = jax.random.bernoulli(
    dropout_key, 1.0 - config.reference_dropout, batch.reward.shape
  )
  # The actor cannot move its frozen entries, so they are no distance either.
  reference = networks.zero_frozen_dims(
    batch.ref_chunk, config.frozen_action_dims
  )
  # Zero is "missing" only because the reference is already normalized. The
  # beta term below still compares with the complete reference.
  ref_input = jnp.where(shown[:, None, None], batch.ref_chunk, 0.0)
  noise = networks.zero_frozen_dims(
    networks.draw_exploration_noise(
      noise_key,
      batch.ref_chunk.shape,
      config.exploration_std,
      config.exploration_noise,
    ),
    config.frozen_action_dims,
  )

  def loss_fn(params) -> tuple[Array, Array]:
    mean = nets.actor(params, batch.z_rl, batch.proprio, ref_input)
    chunk = mean + noise
    q = nets.critic(state.critic_params, batch.z_rl, batch.proprio, chunk)
    loss = jax.vmap(losses.actor_loss, (0, 0, 0, None))(
      q, chunk, reference, config.beta
    )
    return jnp.mean(loss), mean

  (loss, mean), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.actor_params
  )
  step, opt_state = nets.actor_optimizer.update(grads, state.actor_opt)
  state = state.replace(
    actor_params=optax.apply_updates(state.actor_params, step),
    actor_opt=opt_state,
    actor_updates=state.actor_updates + 1,
  )
  squares = jnp.sum((mean - reference) ** 2, axis=(1, 2))
  # Weighted by the share of rows shown, so that no batch divides by zero.
  distance = jnp.mean(squares * shown) / (1.0 - config.reference_dropout)
  return state, {
    'actor_loss': loss,
    'reference_distance': distance,
    'beta_term': config.beta * distance,
    'action_rms': jnp.sqrt(jnp.mean(mean**2)),
  }


def update(
  nets: Networks, sample: Sample, state: TrainState, replay_state: Any
) -> tuple[TrainState, Metrics]:
  """Runs `config.cycles_per_dispatch` cycles of Alg. 1.

  A cycle is `config.critic_updates_per_actor` critic steps and an actor step.

  Args:
    nets: static.
    sample: static; draws B = `config.batch_size` rows.
    state: donate it when jitting.
    replay_state: read only; holds at least one batch of rows.

  Returns:
    The new state and float32 scalars, means over the cycles:
    critic_loss: squared TD errors, summed over the critics (Eq. 3).
    actor_loss: beta * squares - Q of the actor's noisy chunks (Eq. 5).
    q_mean, target_mean, td_abs: values, targets and |TD error| of the rows.
    reference_distance: squares, summed over C and A, from the reference to
      the actor's MEAN with the reference as input. The noise is left out: it
      adds about C * A * exploration_std**2, which no gradient sees.
    beta_term: beta * reference_distance.
    beta_ratio: beta_term / q_mean.
    action_rms: rms entry of the actor's mean chunks.
    finite: 1 if all losses and new params are finite, else 0.
  """
  config = nets.config

  def draw(params, key: PRNGKey) -> tuple[Transition, Array]:
    sample_key, noise_key = jax.random.split(key)
    batch = _check(sample(replay_state, sample_key), config.batch_size)
    # The reference is complete here: the target is about the deployed actor.
    return batch, networks.act(
      nets, params, batch.next_z_rl, batch.next_proprio, batch.next_ref_chunk,
      noise_key, config.exploration_std,
    )  # fmt: skip

  def cycle(state: TrainState, _) -> tuple[TrainState, Metrics]:
    key, actor_key, critic_key = jax.random.split(state.key, 3)
    # The actor waits while the critics step: one product acts for all of them.
    rows = jax.vmap(draw, in_axes=(None, 0))(
      state.actor_params,
      jax.random.split(critic_key, config.critic_updates_per_actor),
    )
    state, critic_metrics = jax.lax.scan(
      lambda state, row: critic_step(nets, state, *row), state, rows
    )
    last_batch = jax.tree.map(lambda x: x[-1], rows[0])
    state, actor_metrics = actor_step(nets, state, last_batch, actor_key)
    return state.replace(key=key), critic_metrics | actor_metrics

  state, metrics = jax.lax.scan(cycle, state, length=config.cycles_per_dispatch)
  metrics = jax.tree.map(jnp.mean, metrics)
  ratio = metrics['beta_term'] / jnp.maximum(metrics['q_mean'], _SMALLEST_Q)
  return state, metrics | {
    'beta_ratio': ratio,
    'finite': _all_finite((metrics, state.actor_params, state.critic_params)),
  }


def _check(batch: Transition, batch_size: int) -> Transition:
  if batch.reward.shape != (batch_size,):
    raise ValueError(
      f'sample must draw batch_size = {batch_size} rows: {batch.reward.shape}.'
    )
  return batch


def _all_finite(tree: Any) -> Array:
  finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
  return jnp.all(jnp.stack(finite)).astype(jnp.float32)
