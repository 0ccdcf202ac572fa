"""Replay ring in device memory; new rows overwrite the oldest."""

from collections.abc import Callable
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from rlt_jax.replay import mixed
from rlt_jax.types import Array, PRNGKey, Transition


@chex.dataclass(frozen=True)
class ReplayState:
  """State of a replay ring.

  rows: Transition [capacity, ...]; slots from `size` on are unused.
  pointer: int32 [] next slot to write.
  size: int32 [] number of stored rows.
  """

  rows: Transition
  pointer: Array
  size: Array


class Replay(NamedTuple):
  """Functions of a ring of fixed capacity and batch size.

  init: row spec -> empty state.
  add: (state, rows [R, ...], keep bool [R]) -> state; donates the state, so
    the argument cannot be used afterward.
  sample: (state, key) -> rows [B, ...].
  """

  init: Callable[[Transition], ReplayState]
  add: Callable[[ReplayState, Transition, Array], ReplayState]
  sample: Callable[[ReplayState, PRNGKey], Transition]


def make_ring(
  capacity: int, batch: int, *, vla_share: float | None = None
) -> Replay:
  """Binds the ring's functions to a capacity and a batch size B, in rows.

  Args:
    capacity, batch: in rows.
    vla_share: of each batch, see `mixed.sample`; None draws uniformly.
  """
  _check_capacity(capacity)
  if not 1 <= batch <= capacity:
    raise ValueError(
      f'batch must be in [1, capacity]: batch {batch}, capacity {capacity}.'
    )
  return Replay(
    init=lambda row_spec: init(row_spec, capacity),
    # Without donation every write would copy the whole ring.
    add=jax.jit(add, donate_argnums=0),
    sample=(
      (lambda state, key: sample(state, key, batch))
      if vla_share is None
      else (lambda state, key: mixed.sample(state, key, batch, vla_share))
    ),
  )


def init(row_spec: Transition, capacity: int) -> ReplayState:
  """Returns an empty ring for rows shaped like `row_spec` (one row)."""
  _check_capacity(capacity)
  return ReplayState(
    rows=jax.tree.map(
      lambda x: jnp.zeros((capacity, *x.shape), x.dtype), row_spec
    ),
    pointer=jnp.zeros((), jnp.int32),
    size=jnp.zeros((), jnp.int32),
  )


def add(state: ReplayState, rows: Transition, keep: Array) -> ReplayState:
  """Stores the rows marked by `keep`, in order.

  Args:
    state: the ring; donate it when jitting.
    rows: [R, ...], R at most the capacity.
    keep: bool [R]; the other rows are not stored.

  Returns:
    The ring, with the kept rows in place of its oldest ones.
  """
  capacity = jax.tree.leaves(state.rows)[0].shape[0]
  chex.assert_rank(keep, 1)
  chex.assert_tree_shape_prefix(rows, keep.shape)
  if keep.shape[0] > capacity:
    raise ValueError(
      f'rows per add must not exceed the capacity {capacity}: {keep.shape[0]}.'
    )
  order = jnp.cumsum(keep.astype(jnp.int32))
  slot = (state.pointer + order - 1) % capacity
  # Slot `capacity` does not exist, so mode='drop' discards these rows.
  slot = jnp.where(keep, slot, capacity)
  return ReplayState(
    rows=jax.tree.map(
      lambda ring, x: ring.at[slot].set(x, mode='drop'), state.rows, rows
    ),
    pointer=(state.pointer + order[-1]) % capacity,
    size=jnp.minimum(state.size + order[-1], capacity),
  )


def sample(state: ReplayState, key: PRNGKey, batch: int) -> Transition:
  """Draws rows uniformly with replacement.

  An empty ring gives zero rows: call `check_ready` on the host first.

  Args:
    state: the ring.
    key: consumed.
    batch: B, static.

  Returns:
    Rows [B, ...].
  """
  slot = jax.random.randint(key, (batch,), 0, jnp.maximum(state.size, 1))
  return jax.tree.map(lambda x: x[slot], state.rows)


def check_ready(size: int, batch: int) -> None:
  """Raises if fewer rows are stored than one batch takes (host only)."""
  if int(size) < batch:
    raise ValueError(
      f'updates need at least one batch of {batch} stored rows: {int(size)}.'
    )


def nbytes(row_spec: Transition, capacity: int) -> int:
  """Returns the device memory of a ring's rows, in bytes."""
  _check_capacity(capacity)
  row = sum(
    math.prod(x.shape) * jnp.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(row_spec)
  )
  return capacity * row


def _check_capacity(capacity: int) -> None:
  if capacity < 1:
    raise ValueError(f'capacity must be at least one row: {capacity}.')
