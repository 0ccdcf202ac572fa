"""A control step after which every world is finite."""

import jax
import jax.numpy as jnp

from rlt_jax.tasks.task import Outcome, State, Task, with_fields
from rlt_jax.types import Array


def step(task: Task, state: State, command: Array) -> State:
  """Returns the state of one world after a control step.

  A world that diverges stays where it was, without reward. It ends in the
  failure that the task gives it, or else at the time limit, as in practice.

  Args:
    task: the task.
    state: State of one world.
    command: [A] joint targets, rad and m.
  """
  after = task.step(state, command)
  failed = after.outcome > Outcome.SUCCESS
  still = with_fields(
    state,
    steps=after.steps,
    outcome=jnp.where(failed, after.outcome, Outcome.TIME_OUT),
    reward=jnp.zeros_like(after.reward),
  )
  lost = _diverged(state, after)
  return jax.tree.map(
    lambda x, y: jnp.where(lost, x, y).astype(y.dtype), still, after
  )


def _diverged(before: State, after: State) -> Array:
  """Returns whether a number is finite no longer, or NaN; bool [].

  A task may use infinity in states of its own.
  """
  lost = jnp.bool_(False)
  pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
  for x, y in pairs:
    if jnp.issubdtype(y.dtype, jnp.inexact):
      gone = jnp.isfinite(x) & ~jnp.isfinite(y) | jnp.isnan(y) & ~jnp.isnan(x)
      lost |= jnp.any(gone)
  return lost
