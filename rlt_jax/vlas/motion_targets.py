"""What teaches a prefix to see: the remaining motion of a demonstration."""

import jax.numpy as jnp

from rlt_jax.types import Array

SIZE = 12
# m and rad, see `make`.
NEAR = (0.002, 0.035)


def make(motion: Array, near: tuple[float, float] = NEAR) -> Array:
  """Returns what a readout regresses, [B, 12], known in hindsight.

  The remaining motion twice: as it is (m, rad), and saturated by tanh, so that
  errors near the goal are not lost beside the long way there.

  Args:
    motion: [B, 6] `DemoBatch.remaining_motion`.
    near: scale of the saturated copy, m and rad.
  """
  scale = jnp.repeat(jnp.asarray(near), 3)
  return jnp.concatenate([motion, jnp.tanh(motion / scale)], axis=-1)
