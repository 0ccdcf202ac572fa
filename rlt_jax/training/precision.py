"""The precision that this package computes in."""

import jax


def check() -> None:
  """Raises a ValueError in JAX's 64-bit mode.

  Nothing here is tested in that mode, and the simulator's state changes its
  types from step to step there.
  """
  if jax.config.jax_enable_x64:
    raise ValueError(
      'JAX must compute in 32 bits: JAX_ENABLE_X64 is set; unset it.'
    )
