"""Batches of two kinds of rows in fixed shares, as of two buffers.

One ring holds both: prior data and the rest. Prior data are the rows that a
person drove, and where no person drove any, those of the VLA. RLPD (arXiv
2302.02948), HIL-SERL and PLD draw half from each.
"""

from typing import Any

import jax
import jax.numpy as jnp

from rlt_jax.types import Array, PRNGKey, Source, Transition


def sample(
  state: Any, key: PRNGKey, batch: int, vla_share: float
) -> Transition:
  """Draws rows of each kind uniformly with replacement.

  Args:
    state: a `ring.ReplayState` that stores the rows' `source`.
    key: consumed.
    batch: B, static.
    vla_share: of the batch, 0 to 1, from prior data; rounded to whole rows.
      Where one kind is missing the other fills the batch.

  Returns:
    Rows [B, ...], prior data first where there are both.

  Raises:
    ValueError: a share that is none, or rows without a source.
  """
  if not 0.0 <= vla_share <= 1.0:
    raise ValueError(f'vla_share must be in [0, 1]: {vla_share}.')
  if state.rows.source is None:
    raise ValueError('vla_share needs rows that store their source: none.')
  stored = jnp.arange(len(state.rows.source)) < state.size
  # A person's rows would be few among those of a VLA that often fails.
  human = stored & (state.rows.source == Source.HUMAN)
  prior = jnp.where(human.any(), human, state.rows.source == Source.VLA)
  first_key, second_key = jax.random.split(key)
  num_prior = round(vla_share * batch)
  prior, others = stored & prior, stored & ~prior
  first = _draw(first_key, jnp.where(prior.any(), prior, stored), num_prior)
  others = jnp.where(others.any(), others, stored)
  slot = jnp.concatenate([first, _draw(second_key, others, batch - num_prior)])
  return jax.tree.map(lambda x: x[slot], state.rows)


def _draw(key: PRNGKey, wanted: Array, num: int) -> Array:
  """Returns `num` slots, drawn uniformly from those of a mask [capacity]."""
  count = jnp.cumsum(wanted.astype(jnp.int32))
  rank = jax.random.randint(key, (num,), 0, jnp.maximum(count[-1], 1))
  return jnp.searchsorted(count, rank + 1)
