"""Cal-QL's conservative term (arXiv 2303.05479) on the VLA's roll-outs.

It pushes down the values of actions that nobody executed, but never below the
value of the VLA's own behavior. Cal-QL takes that value from the returns of the
episodes; here a network learns it from the same rows by temporal differences,
as a row does not know how its episode ends.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlt_jax.agents.networks import Mlp
from rlt_jax.agents.residual.config import ResidualConfig
from rlt_jax.agents.sac.update import Extra, Sac, view_of
from rlt_jax.types import Array, Params, PRNGKey, Source, Transition

_VALUE = 'value_of_vla'


def with_conservatism(sac: Sac, config: ResidualConfig) -> Sac:
  """Returns the learner with the term in the loss of its critics."""
  value = Mlp(config.hidden_dims, 1, layer_norm=True)

  def init(key: PRNGKey) -> dict[str, Params]:
    inputs = jnp.zeros((1, sac.sizes.z_dim + sac.sizes.proprio_dim))
    return {_VALUE: value.init(key, inputs)}

  def values_of_vla(params: Params, z_rl: Array, proprio: Array) -> Array:
    inputs = jnp.concatenate([z_rl, proprio], axis=-1)
    return value.apply(params[_VALUE], inputs)[..., 0]

  def loss(
    params: Params,
    average: Params,
    rows: Transition,
    actor: Params,
    key: PRNGKey,
    updates: Array,
  ) -> Array:
    by_vla = (rows.source == Source.VLA).astype(jnp.float32)
    found = values_of_vla(params, rows.z_rl, rows.proprio)
    later = values_of_vla(average, rows.next_z_rl, rows.next_proprio)
    wanted = jax.lax.stop_gradient(rows.reward + rows.discount * later)
    fit = jnp.mean(by_vla * (wanted - found) ** 2)

    def conservatism(_) -> Array:
      others, own = _values(sac, config, params, rows, actor, key)
      term = conservative_term(jax.lax.stop_gradient(found), own, *others)
      return config.conservative_weight * jnp.mean(by_vla * term)

    # It costs more than the rest of the update, so not where it is 0.
    return fit + jax.lax.cond(
      updates < config.pretrain_updates,
      conservatism,
      lambda _: jnp.zeros(()),
      None,
    )

  return dataclasses.replace(sac, extra=Extra(init, loss))


def conservative_term(
  floor: Array, own: Array, uniform: Array, drawn: Array
) -> Array:
  """Returns log-mean-exp of the values of other actions minus that of the own.

  Args:
    floor: [B] value of the VLA's behavior; no drawn value counts as less.
    own: [B, Q] values of the executed actions.
    uniform: [N, B, Q] values of uniformly drawn actions.
    drawn: [N, B, Q] values of the policy's actions.

  Returns:
    [B], summed over the critics. As in ConRFT (arXiv 2502.05450) the actions
    are not weighted by their density: in the many entries of a chunk one of
    them would have all of the weight.
  """
  drawn = jnp.maximum(drawn, floor[None, :, None])
  others = jnp.concatenate([uniform, drawn])
  soft = jax.nn.logsumexp(others, axis=0) - jnp.log(len(others))
  return jnp.sum(soft - own, axis=-1)


def _values(
  sac: Sac,
  config: ResidualConfig,
  params: Params,
  rows: Transition,
  actor: Params,
  key: PRNGKey,
) -> tuple[tuple[Array, Array], Array]:
  """Returns the values of uniform and of the policy's actions, and the own."""
  view, num = view_of(rows), config.conservative_samples
  uniform_key, policy_key = jax.random.split(key)
  shape = num, len(rows.reward), sac.actions.dim
  u = jax.random.uniform(uniform_key, shape, minval=-1.0, maxval=1.0)
  uniform = jax.vmap(lambda u: sac.actions.decode(u, view))(u)
  drawn = jax.vmap(lambda key: sac.draw(actor, view, key)[0])(
    jax.random.split(policy_key, num)
  )
  values = jax.vmap(lambda action: sac.values(params, view, action))
  own = sac.values(params, view, sac.actions.executed(rows))
  return (values(uniform), values(drawn)), own
