"""The update as separate jitted calls, with its replay in NumPy.

The losses are those of this package; only the structure differs: three jitted
functions, a batch drawn and copied by the host for each critic step, and no
donated buffers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax.agents import rlt
from rlt_jax.agents.rlt import losses
from rlt_jax.agents.rlt.train_state import TrainState
from rlt_jax.types import Transition


class NaiveUpdate:
  """Holds the state; `cycle` runs two critic steps and an actor step."""

  def __init__(
    self,
    nets: rlt.Networks,
    state: TrainState,
    rows: Transition,
    size: int,
    seed: int,
  ):
    """Takes the same state and rows as the fused update."""
    self.state = state
    self._rows = jax.tree.map(np.asarray, rows)
    self._size, self._config = size, nets.config
    self._rng = np.random.default_rng(seed)
    self._next_q = jax.jit(functools.partial(_next_q, nets))
    self._critic = jax.jit(functools.partial(_critic_step, nets))
    self._actor = jax.jit(functools.partial(_actor_step, nets))
    self._polyak = jax.jit(
      functools.partial(optax.incremental_update, step_size=nets.config.tau)
    )

  def draw(self) -> Transition:
    """Copies one batch from the host's rows to the device."""
    rows = self._rng.integers(self._size, size=self._config.batch_size)
    return jax.tree.map(lambda x: jnp.asarray(x[rows]), self._rows)

  def critic_step(self, batch: Transition, key) -> dict[str, jax.Array]:
    """Runs one critic step. The key is consumed."""
    state = self.state
    next_q = self._next_q(
      state.actor_params, state.target_critic_params, batch, key
    )
    params, opt, loss = self._critic(
      state.critic_params, state.critic_opt, batch, next_q
    )
    self.state = state.replace(
      critic_params=params,
      critic_opt=opt,
      target_critic_params=self._polyak(params, state.target_critic_params),
    )
    return loss

  def actor_step(self, batch: Transition, key):
    """Runs one actor step. The key is consumed."""
    params, opt, loss = self._actor(
      self.state.actor_params,
      self.state.actor_opt,
      self.state.critic_params,
      batch,
      key,
    )
    self.state = self.state.replace(actor_params=params, actor_opt=opt)
    return loss

  def cycle(self):
    """Runs two critic steps and an actor step, as the fused update does."""
    key, actor_key, critic_key = jax.random.split(self.state.key, 3)
    for step_key in jax.random.split(
      critic_key, self._config.critic_updates_per_actor
    ):
      batch = self.draw()
      critic_loss = self.critic_step(batch, step_key)
    actor_loss = self.actor_step(batch, actor_key)
    self.state = self.state.replace(key=key)
    return critic_loss, actor_loss


def _next_q(nets, actor_params, target_params, batch, key):
  chunk = rlt.act(
    nets,
    actor_params,
    batch.next_z_rl,
    batch.next_proprio,
    batch.next_ref_chunk,
    key,
    nets.config.exploration_std,
  )
  return nets.critic(target_params, batch.next_z_rl, batch.next_proprio, chunk)


def _critic_step(nets, params, opt_state, batch, next_q):
  def loss_fn(params):
    q = nets.critic(params, batch.z_rl, batch.proprio, batch.action_chunk)
    loss, _ = jax.vmap(losses.critic_loss, (0, 0, 0, 0, None))(
      q, batch.reward, batch.discount, next_q, nets.config.target_clip
    )
    return jnp.mean(loss)

  loss, grads = jax.value_and_grad(loss_fn)(params)
  step, opt_state = nets.critic_optimizer.update(grads, opt_state)
  return optax.apply_updates(params, step), opt_state, loss


def _actor_step(nets, params, opt_state, critic_params, batch, key):
  config = nets.config
  dropout_key, noise_key = jax.random.split(key)
  shown = jax.random.bernoulli(
    dropout_key, 1.0 - config.reference_dropout, batch.reward.shape
  )
  frozen = config.frozen_action_dims
  reference = rlt.zero_frozen_dims(batch.ref_chunk, frozen)
  ref_input = jnp.where(shown[:, None, None], batch.ref_chunk, 0.0)
  noise = rlt.zero_frozen_dims(
    rlt.draw_exploration_noise(
      noise_key,
      batch.ref_chunk.shape,
      config.exploration_std,
      config.exploration_noise,
    ),
    frozen,
  )

  def loss_fn(params):
    chunk = nets.actor(params, batch.z_rl, batch.proprio, ref_input) + noise
    q = nets.critic(critic_params, batch.z_rl, batch.proprio, chunk)
    loss = jax.vmap(losses.actor_loss, (0, 0, 0, None))(
      q, chunk, reference, config.beta
    )
    return jnp.mean(loss)

  loss, grads = jax.value_and_grad(loss_fn)(params)
  step, opt_state = nets.actor_optimizer.update(grads, opt_state)
  return optax.apply_updates(params, step), opt_state, loss
