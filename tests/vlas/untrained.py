"""Untrained VLAs for tests."""

from typing import Any

import jax
import jax.numpy as jnp

from rlt_jax.types import PRNGKey
from rlt_jax.vlas.pi_small import model, pi_vla
from rlt_jax.vlas.pi_small.config import PiConfig


def random_vla(
  key: PRNGKey,
  config: PiConfig,
  **facts: Any,
) -> pi_vla.PiVla:
  """Returns an untrained VLA with unit statistics. `key` is consumed.

  Args:
    key: consumed.
    config: the sizes.
    **facts: the keyword arguments of `pi_vla.make`.
  """
  P, T = config.proprio_dim, config.target_dim
  chunk = (config.horizon, config.action_dim)
  norm = model.VlaNorm(
    *(f(s) for s in ((P,), chunk, (T,)) for f in (jnp.zeros, jnp.ones))
  )
  params = jax.jit(model.init_params, static_argnames='config')(
    key, norm, config=config
  )
  return pi_vla.make(params, config, **facts)
