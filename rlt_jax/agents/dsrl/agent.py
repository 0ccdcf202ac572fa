"""DSRL: soft actor-critic over the initial noise of the VLA's flow.

The frozen VLA turns noise into a chunk; the policy chooses the noise and never
an action (arXiv 2506.15799). It can select among what the VLA would do, and do
nothing else. Critics value the chosen latent, so an update needs no query of
the VLA. A row exists for every query, not for the steps between: what would
have been chosen there is unknown.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import replay
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.agents.dsrl.config import DsrlConfig
from rlt_jax.agents.sac.update import (
  Actions,
  make_agent,
  observe_state,
  Sac,
  View,
)
from rlt_jax.types import Array, Features, Params, PRNGKey


def make(config: DsrlConfig, sizes: Sizes) -> Agent:
  """Builds the agent; see `agents.agent.Agent`.

  Raises:
    ValueError: a VLA whose horizon is not known or too short.
  """
  basis = make_basis(config, sizes.horizon)
  dim = basis.shape[1] * sizes.action_dim

  def executed(rows):
    return latent_of(rows.noise, basis).reshape(len(rows.noise), -1)

  sac = Sac(
    config=config,
    sizes=sizes,
    actions=Actions(
      dim=dim,
      observe=observe_state,
      decode=lambda u, view: config.bound * u,
      executed=executed,
    ),
  )

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    policy_key, rest_key = jax.random.split(key)
    view = View(features.z_rl, features.proprio, None)
    u = sac.squashed(params, view, policy_key, explore)
    latent = config.bound * u.reshape(len(u), -1, sizes.action_dim)
    return noise_of(latent, basis, config.latent, rest_key)

  def prior(key: PRNGKey, rows: int) -> Array:
    latent_key, rest_key = jax.random.split(key)
    shape = rows, basis.shape[1], sizes.action_dim
    latent = jax.random.normal(latent_key, shape)
    return noise_of(latent, basis, config.latent, rest_key)

  row = replay.transition_spec(*sizes[:4])
  return make_agent(
    sac,
    row_spec=row._replace(
      ref_chunk=None,
      action_chunk=None,
      next_ref_chunk=None,
      source=None,
      noise=jax.ShapeDtypeStruct(
        (sizes.horizon, sizes.action_dim), jnp.float32
      ),
    ),
    act=act,
    prior_noise=prior,
  )


def make_basis(config: DsrlConfig, horizon: int) -> np.ndarray:
  """Returns the directions over the steps of the noise [H, K] of the latent.

  'repeated' has one, ones at every step. The columns of 'subspace' are
  orthonormal: the constant and the slowest cosines.

  Raises:
    ValueError: a horizon shorter than K, or none.
  """
  if config.latent == 'repeated':
    if horizon < 1:
      raise ValueError(f'The VLA must have a horizon of 1 or more: {horizon}.')
    return np.ones((horizon, 1), np.float32)
  if horizon < config.num_cosines:
    raise ValueError(
      f'num_cosines must be at most the horizon {horizon} of the VLA: '
      f'{config.num_cosines}.'
    )
  step = (np.arange(horizon) + 0.5) / horizon
  waves = np.cos(np.pi * step[:, None] * np.arange(config.num_cosines))
  return (waves / np.linalg.norm(waves, axis=0)).astype(np.float32)


def noise_of(
  latent: Array, basis: np.ndarray, kind: str, key: PRNGKey
) -> Array:
  """Returns the VLA's initial noise [B, H, A].

  Args:
    latent: [B, K, A].
    basis: [H, K] of `make_basis`.
    kind: of `LATENTS`. 'repeated' has the latent at every step. 'subspace' has
      it along the basis and a draw across it: with a standard normal latent the
      noise is standard normal.
    key: consumed by 'subspace'.
  """
  along = jnp.einsum('hk,bka->bha', basis, latent)
  if kind == 'repeated':
    return along
  drawn = jax.random.normal(key, along.shape)
  inside = jnp.einsum('hk,gk,bga->bha', basis, basis, drawn)
  return along + drawn - inside


def latent_of(noise: Array, basis: np.ndarray) -> Array:
  """Returns the latent [B, K, A] of noise [B, H, A] that `noise_of` made."""
  scale = np.sum(basis**2, axis=0)  # H for 'repeated', 1 for 'subspace'
  return jnp.einsum('hk,bha->bka', basis, noise) / scale[:, None]
