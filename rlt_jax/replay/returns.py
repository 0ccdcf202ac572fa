"""How the episodes of stored rows ended, and the return from each row.

The ring keeps no episodes. A row's successor features are, to the bit, those
of the row that starts there, so rows chain up to the end of their episode.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.replay.ring import ReplayState
from rlt_jax.types import Outcome, Transition

FAILURE = 2  # any: rows do not tell the failures of a task apart


class Experience(NamedTuple):
  """R replay rows, oldest first, with what followed each of them.

  rows: Transition [R, ...], NumPy. present: bool [R], False for padding.
  returns: float32 [R] discounted return to the end of the episode,
    gamma**(steps left - 1) before a success with reward 1 and 0 before a
    failure; where a time limit ended it, of the steps before; NaN where the end
    is not known.
  outcome: int32 [R], see `Outcome`; RUNNING where the end is not known, FAILURE
    for each failure.
  """

  rows: Transition
  present: np.ndarray
  returns: np.ndarray
  outcome: np.ndarray


def newest(
  state: ReplayState, count: int, *, num_open: int, every: int = 1
) -> Experience:
  """Returns the newest rows of a ring; the ring does not change.

  Args:
    state: the ring.
    count: rows; at most the capacity counts.
    num_open: the last rows stored, whose successors may be still to come.
    every: R is `count` / `every`: the others only tell how episodes ended.
  """
  count = min(count, state.rows.reward.shape[0])
  rows = jax.tree.map(np.asarray, _newest(state, count))
  present = np.arange(count) >= count - int(state.size)
  found = follow(rows, present, num_open)
  return jax.tree.map(lambda x: x[::every], found)


def follow(rows: Transition, present: np.ndarray, num_open: int) -> Experience:
  """Follows each row to the end of its episode.

  A row with discount 0 is the last one of an episode, a success if it has a
  reward. One without a successor met a time limit (or its world diverged),
  unless the successor may be still to come.

  Args:
    rows: [R, ...], NumPy, in the order in which they were stored.
    present: bool [R].
    num_open: see `newest`.
  """
  count = len(present)
  returns = np.full(count, np.nan, np.float32)
  outcome = np.full(count, Outcome.RUNNING, np.int32)
  starts: dict[bytes, int] = {}  # features -> nearest later row
  for i in reversed(np.flatnonzero(present)):
    after = starts.get(_key(rows.next_z_rl[i], rows.next_proprio[i]))
    if rows.discount[i] == 0.0:
      returns[i] = rows.reward[i]
      outcome[i] = Outcome.SUCCESS if rows.reward[i] > 0.0 else FAILURE
    elif after is not None:
      returns[i] = rows.reward[i] + rows.discount[i] * returns[after]
      outcome[i] = outcome[after]
    elif i < count - num_open:
      returns[i], outcome[i] = rows.reward[i], Outcome.TIME_OUT
    starts[_key(rows.z_rl[i], rows.proprio[i])] = i
  return Experience(rows, present, returns, outcome)


@functools.partial(jax.jit, static_argnums=1)
def _newest(state: ReplayState, count: int) -> Transition:
  capacity = state.rows.reward.shape[0]
  slots = (state.pointer - count + jnp.arange(count)) % capacity
  return jax.tree.map(lambda x: x[slots], state.rows)


def _key(z_rl: np.ndarray, proprio: np.ndarray) -> bytes:
  return z_rl.tobytes() + proprio.tobytes()
