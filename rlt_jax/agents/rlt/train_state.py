"""What the learner carries from one update to the next."""

import chex
import jax
import jax.numpy as jnp
import optax

from rlt_jax.agents.rlt.networks import Networks
from rlt_jax.types import Array, Params, PRNGKey


@chex.dataclass(frozen=True)
class TrainState:
  """Params, optimizer states and counters; a plain pytree.

  There is no target actor: the target's next chunk comes from the actor.

  actor_params, critic_params, target_critic_params: pytrees of float32.
  actor_opt, critic_opt: Adam's moments.
  actor_updates, critic_updates: int32 [] steps taken so far.
  key: consumed and replaced by every update.
  """

  actor_params: Params
  critic_params: Params
  target_critic_params: Params
  actor_opt: optax.OptState
  critic_opt: optax.OptState
  actor_updates: Array
  critic_updates: Array
  key: PRNGKey


def init(key: PRNGKey, nets: Networks) -> TrainState:
  """Returns a fresh state; the target critics start as the critics.

  Args:
    key: consumed.
    nets: static.
  """
  actor_key, critic_key, key = jax.random.split(key, 3)
  actor_params = nets.init_actor(actor_key)
  critic_params = nets.init_critic(critic_key)
  return TrainState(
    actor_params=actor_params,
    critic_params=critic_params,
    # A copy, as one buffer cannot be donated twice.
    target_critic_params=jax.tree.map(jnp.copy, critic_params),
    actor_opt=nets.actor_optimizer.init(actor_params),
    critic_opt=nets.critic_optimizer.init(critic_params),
    actor_updates=jnp.zeros((), jnp.int32),
    critic_updates=jnp.zeros((), jnp.int32),
    key=key,
  )
