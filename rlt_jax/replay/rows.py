"""Overlapping chunk rows from executed segments, one every `stride` steps.

A row that starts inside a segment ends inside the next one, so rows are built
from two consecutive segments: the rows that start in `prev`, once `cur` is
known.
"""

from collections.abc import Callable
import functools

import chex
import jax
import jax.numpy as jnp

from rlt_jax.batching import tree_select
from rlt_jax.types import (
  Array,
  INTERVENTION_REFERENCES,
  Segment,
  Source,
  Transition,
)

Encode = Callable[[Array, Array], Array]


def transition_spec(
  z_dim: int, proprio_dim: int, chunk: int, action_dim: int
) -> Transition:
  """Returns the shapes and dtypes of one row, for `ring.init`."""

  def floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)

  return Transition(
    z_rl=floats(z_dim),
    proprio=floats(proprio_dim),
    ref_chunk=floats(chunk, action_dim),
    action_chunk=floats(chunk, action_dim),
    reward=floats(),
    discount=floats(),
    next_z_rl=floats(z_dim),
    next_proprio=floats(proprio_dim),
    next_ref_chunk=floats(chunk, action_dim),
    source=jax.ShapeDtypeStruct((), jnp.int32),
  )


def select_fields(rows: Transition, row_spec: Transition) -> Transition:
  """Returns the rows without the fields that `row_spec` leaves None."""
  return Transition(
    *(
      None if spec is None else x
      for x, spec in zip(rows, row_spec, strict=True)
    )
  )


def empty_segment(spec: Segment) -> Segment:
  """Returns a segment of zeros, shaped as `spec`: all its rows are dropped."""
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), spec)


def build_rows(
  prev: Segment,
  cur: Segment | None,
  *,
  encode: Encode,
  gamma: float,
  stride: int,
  intervention_reference: str = 'human',
) -> tuple[Transition, Array]:
  """Builds the rows that start in `prev`, one every `stride` steps.

  A row spans C steps from its start. It ends early, with discount 0 and the
  last command held, where the episode terminated. After a time limit only
  windows that end at or before it are kept, and they bootstrap.

  Args:
    prev, cur: consecutive segments of the same E environments. `cur` belongs to
      the same episode unless `prev` terminated or was truncated. None stands
      for a segment that never comes: rows that would end in it are not kept.
    encode: absolute commands [C, A] and the pose [A] at the row's start ->
      normalized action chunk [C, A].
    gamma: discount of one control step.
    stride: control steps between row starts; divides C.
    intervention_reference: one of INTERVENTION_REFERENCES. The successor's
      reference is always the VLA's, since the human's next commands are not
      known yet.

  Returns:
    Rows [E*C/s, ...], those of one environment side by side, and keep
    bool [E*C/s], False for rows that must not be stored.
  """
  cur = empty_segment(prev) if cur is None else cur
  num_envs, chunk = prev.reward.shape
  if stride < 1 or chunk % stride:
    raise ValueError(
      f'stride must divide the chunk of {chunk} steps: {stride}.'
    )
  if prev.noise is not None and stride != chunk:
    raise ValueError(
      f'stride must be the chunk of {chunk} steps where the agent chooses the '
      f'noise of the VLA, which it does at its start: {stride}.'
    )
  if intervention_reference not in INTERVENTION_REFERENCES:
    raise ValueError(
      f'intervention_reference must be one of '
      f'{INTERVENTION_REFERENCES}: {intervention_reference!r}.'
    )
  chex.assert_shape([prev.source, cur.source], (num_envs, chunk))
  chex.assert_shape(
    [prev.features.pose, cur.features.pose],
    (num_envs, chunk // stride, prev.command.shape[-1]),
  )
  chex.assert_type([prev.valid, cur.valid], bool)
  build = functools.partial(
    _env_rows,
    encode=encode,
    gamma=gamma,
    stride=stride,
    replace=intervention_reference == 'human',
  )
  rows, keep = jax.vmap(build)(prev, cur)
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (rows, keep))


def _env_rows(
  prev: Segment,
  cur: Segment,
  *,
  encode: Encode,
  gamma: float,
  stride: int,
  replace: bool,
) -> tuple[Transition, Array]:
  """Builds the rows [C/s, ...] of one environment and keep [C/s]."""
  chunk = prev.reward.shape[0]
  goes_on = ~(prev.terminated | prev.truncated)
  valid = jnp.concatenate([prev.valid, cur.valid & goes_on])  # [2C]
  reward = jnp.concatenate([prev.reward, cur.reward])
  command = jnp.concatenate([prev.command, cur.command])
  terminated = prev.terminated | (cur.terminated & goes_on)
  end = jnp.sum(valid)  # Steps until the episode's end, if it ended.

  start = jnp.arange(0, chunk, stride)  # [C/s]
  step = start[:, None] + jnp.arange(chunk)  # [C/s, C]
  row_valid = valid[step]
  done = terminated & (end <= start + chunk)
  keep = valid[start] & (done | jnp.all(row_valid, axis=1))

  discounts = gamma ** jnp.arange(chunk)
  row_reward = jnp.sum(
    discounts * jnp.where(row_valid, reward[step], 0.0), axis=1
  )
  held = jnp.minimum(step, jnp.maximum(end - 1, 0))  # [C/s, C]
  now = prev.features
  # A terminal row's successor has weight 0. It is replaced by the row's own
  # start: after a failure numbers may not be finite, and 0 * nan is nan.
  later = jax.tree.map(
    lambda final, features: jnp.concatenate([final[None], features[1:]]),
    prev.final,
    cur.features,
  )
  successor = tree_select(done, now, later)
  source = jnp.concatenate([prev.source, cur.source])[held]  # [C/s, C]
  executed = jax.vmap(encode)(command[held], now.pose)
  human = (source == Source.HUMAN)[..., None] & replace
  rows = Transition(
    z_rl=now.z_rl,
    proprio=now.proprio,
    ref_chunk=jnp.where(human, executed, now.reference),
    action_chunk=executed,
    reward=row_reward,
    discount=jnp.where(done, 0.0, gamma**chunk),
    next_z_rl=successor.z_rl,
    next_proprio=successor.proprio,
    next_ref_chunk=successor.reference,
    source=jnp.where(
      jnp.all(source == source[:, :1], axis=1), source[:, 0], Source.MIXED
    ).astype(jnp.int32),
    next_candidates=successor.candidates,
    noise=None if prev.noise is None else prev.noise[None],
  )
  return rows, keep
