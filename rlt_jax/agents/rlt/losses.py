"""Losses of one transition (Eq. 3, 5); `fused_update` maps them over rows."""

import chex
import jax
import jax.numpy as jnp

from rlt_jax.types import Array


def critic_target(
  reward: Array,
  discount: Array,
  next_q: Array,
  clip: tuple[float, float] | None,
) -> Array:
  """Returns the value [] that the critics are fitted to (Eq. 3).

  Args:
    reward: [] discounted reward of the row's n steps.
    discount: [] gamma**n, 0 where the episode terminated.
    next_q: [Q] target critics at the successor; the smallest counts.
    clip: bounds on the target, or None.
  """
  chex.assert_rank([reward, discount, next_q], [0, 0, 1])
  target = reward + discount * jnp.min(next_q)
  return target if clip is None else jnp.clip(target, *clip)


def td_error(q: Array, target: Array) -> Array:
  """Returns the TD errors [Q] of values q [Q]; target [] gets no gradient."""
  chex.assert_rank([q, target], [1, 0])
  return jax.lax.stop_gradient(target) - q


def actor_objective(
  q: Array, action_chunk: Array, ref_chunk: Array, beta: float
) -> tuple[Array, tuple[Array, Array]]:
  """Returns the actor's loss [] and its two terms (Eq. 5).

  All C steps count, also in rows that ended early: the reference proposed all
  of them.

  Args:
    q: [Q] values of `action_chunk`; their mean is maximised.
    action_chunk: [C, A] the actor's chunk, normalised action units.
    ref_chunk: [C, A] the reference, complete.
    beta: weight on the squares summed over C and A.

  Returns:
    loss [], (mean value [], sum of squares []), with
    loss = beta * sum of squares - mean value.
  """
  chex.assert_rank([q, action_chunk, ref_chunk], [1, 2, 2])
  chex.assert_equal_shape([action_chunk, ref_chunk])
  value = jnp.mean(q)
  squares = jnp.sum((action_chunk - ref_chunk) ** 2)
  return beta * squares - value, (value, squares)
