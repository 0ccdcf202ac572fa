"""Losses of one transition (Eq. 3, 5); `fused_update` maps them over rows."""

import chex
import jax
import jax.numpy as jnp

from rlt_jax.types import Array


def critic_loss(
  q: Array,
  reward: Array,
  discount: Array,
  next_q: Array,
  clip: tuple[float, float] | None,
) -> tuple[Array, Array]:
  """Returns the squared TD errors [], summed over the critics, and the target.

  The target [] is reward + discount * min(next_q), bounded by `clip`; it gets
  no gradient (Eq. 3).

  Args:
    q: [Q] values of the executed chunk.
    reward: [] discounted reward of the row's n steps.
    discount: [] gamma**n, 0 where the episode terminated.
    next_q: [Q] target critics at the successor; the smallest counts.
    clip: bounds on the target, or None.
  """
  chex.assert_rank([q, reward, discount, next_q], [1, 0, 0, 1])
  target = reward + discount * jnp.min(next_q)
  target = target if clip is None else jnp.clip(target, *clip)
  target = jax.lax.stop_gradient(target)
  return jnp.sum((target - q) ** 2), target


def actor_loss(
  q: Array, action_chunk: Array, ref_chunk: Array, beta: float
) -> Array:
  """Returns beta * squared distance to the reference - mean value [] (Eq. 5).

  All C steps count, also in rows that ended early: the reference proposed all
  of them.

  Args:
    q: [Q] values of `action_chunk`; their mean is maximized.
    action_chunk: [C, A] the actor's chunk, normalized action units.
    ref_chunk: [C, A] the reference, complete.
    beta: weight on the squares, summed over C and A.
  """
  chex.assert_rank([q, action_chunk, ref_chunk], [1, 2, 2])
  chex.assert_equal_shape([action_chunk, ref_chunk])
  return beta * jnp.sum((action_chunk - ref_chunk) ** 2) - jnp.mean(q)
