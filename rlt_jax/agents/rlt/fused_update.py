"""The fused update: critic steps, an actor step, and nothing on the host."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from rlt_jax.agents.rlt import losses, networks
from rlt_jax.agents.rlt.config import UpdateConfig
from rlt_jax.agents.rlt.train_state import optimizers, TrainState
from rlt_jax.types import Array, Params, PRNGKey, Transition

Metrics = Mapping[str, Array]

# Keeps beta_ratio finite while the critics still answer about 0.
_SMALLEST_Q = 1e-3


class Sampler(Protocol):
  """Where rows come from; `replay.Replay` is one."""

  sample: Callable[[Any, PRNGKey], Transition]


def update(
  state: TrainState,
  replay_state: Any,
  *,
  nets: networks.Networks,
  replay: Sampler,
  config: UpdateConfig,
  cycles: int,
) -> tuple[TrainState, Metrics]:
  """Runs `cycles` cycles of critic steps and one actor step (Alg. 1).

  Args:
    state: donate it when jitting.
    replay_state: read only; holds at least one batch of rows.
    nets, replay, config, cycles: static.

  Returns:
    The new state and float32 scalars, means over the cycles:
    critic_loss: squared TD errors, summed over the critics (Eq. 3).
    actor_loss: beta * squares - Q of the actor's noisy chunks (Eq. 5).
    q_mean, target_mean, td_abs: values, targets and |TD error| of the rows.
    reference_distance: squares, summed over C and A, from the reference to
      the actor's MEAN with the reference as input. The noise is left out: it
      adds about C * A * sigma**2, which no gradient sees.
    beta_term: beta * reference_distance.
    beta_ratio: beta_term / q_mean.
    action_rms: rms entry of the actor's mean chunks.
    finite: 1 if all losses and new params are finite, else 0.
  """

  critic_step = functools.partial(_critic_step, nets=nets, config=config)
  actor_step = functools.partial(_actor_step, nets=nets, config=config)

  def draw(params, key: PRNGKey) -> tuple[Transition, Array]:
    sample_key, noise_key = jax.random.split(key)
    batch = _check(replay.sample(replay_state, sample_key), config)
    return batch, _next_chunk(params, batch, noise_key, nets=nets)

  def cycle(state: TrainState, _):
    key, actor_key, critic_key = jax.random.split(state.key, 3)
    # The actor waits while the critics step: one product acts for all of them.
    batches, next_chunks = jax.vmap(draw, in_axes=(None, 0))(
      state.actor_params,
      jax.random.split(critic_key, config.critic_updates_per_actor),
    )
    state, critic_metrics = jax.lax.scan(
      lambda state, rows: critic_step(state, *rows),
      state,
      (batches, next_chunks),
    )
    last = jax.tree.map(lambda x: x[-1], batches)
    state, actor_metrics = actor_step(state, last, actor_key)
    return state.replace(key=key), critic_metrics | actor_metrics

  state, metrics = jax.lax.scan(cycle, state, length=cycles)
  metrics = jax.tree.map(jnp.mean, metrics)
  ratio = metrics['beta_term'] / jnp.maximum(metrics['q_mean'], _SMALLEST_Q)
  return state, metrics | {
    'beta_ratio': ratio,
    'finite': _all_finite((metrics, state.actor_params, state.critic_params)),
  }


def jit_update(
  nets: networks.Networks,
  replay: Sampler,
  config: UpdateConfig,
  cycles: int | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
  """Returns a jitted `update` of (state, replay_state).

  The train state is donated: the argument is dead afterwards. The replay
  state is not. `cycles` defaults to `config.cycles`.
  """
  cycles = config.cycles if cycles is None else cycles
  if cycles < 1:
    raise ValueError(f'cycles must be at least 1: {cycles}.')
  fused = functools.partial(
    update, nets=nets, replay=replay, config=config, cycles=cycles
  )
  return jax.jit(fused, donate_argnums=0)


def _next_chunk(
  params: Params, batch: Transition, key: PRNGKey, *, nets: networks.Networks
) -> Array:
  """Samples the actor's chunks [B, C, A] at the rows' successors."""
  # The reference is complete here: the target is about the deployed actor.
  return networks.act(
    nets,
    params,
    batch.next_z_rl,
    batch.next_proprio,
    batch.next_ref_chunk,
    key,
    nets.config.exploration_std,
  )


def _critic_step(
  state: TrainState,
  batch: Transition,
  next_chunk: Array,
  *,
  nets: networks.Networks,
  config: UpdateConfig,
) -> tuple[TrainState, Metrics]:
  """Fits the critics to their targets, then moves the target critics."""
  next_q = nets.critic(
    state.target_critic_params, batch.next_z_rl, batch.next_proprio, next_chunk
  )
  target = jax.vmap(
    functools.partial(losses.critic_target, clip=config.target_clip)
  )(batch.reward, batch.discount, next_q)

  def loss_fn(params) -> tuple[Array, tuple[Array, Array]]:
    q = nets.critic(params, batch.z_rl, batch.proprio, batch.action_chunk)
    error = jax.vmap(losses.td_error)(q, target)
    return jnp.mean(jnp.sum(error**2, axis=-1)), (q, error)

  (loss, (q, error)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.critic_params
  )
  _, optimizer = optimizers(config)
  step, opt_state = optimizer.update(grads, state.critic_opt)
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
    'td_abs': jnp.mean(jnp.abs(error)),
  }


def _actor_step(
  state: TrainState,
  batch: Transition,
  key: PRNGKey,
  *,
  nets: networks.Networks,
  config: UpdateConfig,
) -> tuple[TrainState, Metrics]:
  """Moves the actor up the critics, held near the reference by beta."""
  dropout_key, noise_key = jax.random.split(key)
  shown = jax.random.bernoulli(
    dropout_key, 1.0 - config.reference_dropout, batch.reward.shape
  )
  idle = nets.config.frozen_action_dims
  # The actor has no say in its idle entries, so they are no distance either.
  reference = networks.zero_frozen_dims(batch.ref_chunk, idle)
  # Zero is "missing" only because the reference is already normalised. The
  # beta term below still compares with the complete reference.
  ref_input = jnp.where(shown[:, None, None], batch.ref_chunk, 0.0)
  noise = networks.draw_exploration_noise(
    noise_key,
    batch.ref_chunk.shape,
    nets.config.exploration_std,
    nets.config.exploration_noise,
  )
  noise = networks.zero_frozen_dims(noise, idle)
  objective = functools.partial(losses.actor_objective, beta=config.beta)

  def loss_fn(params) -> tuple[Array, Array]:
    mean = nets.actor(params, batch.z_rl, batch.proprio, ref_input)
    chunk = mean + noise
    q = nets.critic(state.critic_params, batch.z_rl, batch.proprio, chunk)
    loss, _ = jax.vmap(objective)(q, chunk, reference)
    return jnp.mean(loss), mean

  (loss, mean), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.actor_params
  )
  optimizer, _ = optimizers(config)
  step, opt_state = optimizer.update(grads, state.actor_opt)
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


def _check(batch: Transition, config: UpdateConfig) -> Transition:
  if batch.reward.shape != (config.batch_size,):
    raise ValueError(
      f'replay must sample config.batch_size = {config.batch_size} rows: '
      f'{batch.reward.shape}.'
    )
  return batch


def _all_finite(tree: Any) -> Array:
  finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
  return jnp.all(jnp.stack(finite)).astype(jnp.float32)
