"""Evaluation on a fixed list of initial states, the same for every policy."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import agent
from rlt_jax.rollout import play as play_lib
from rlt_jax.rollout.film import Clip
from rlt_jax.rollout.perception import Perception, Percept
from rlt_jax.rollout.statistics import Episodes, OUTCOMES
from rlt_jax.sim import insertion
from rlt_jax.sim.insertion import Outcome
from rlt_jax.types import Array, Params, PRNGKey

# A policy maps (percept [B], key) to normalised chunks [B, C, A].
Policy = Callable[[Percept, PRNGKey], Array]

# Worlds a call: few sizes, since each compiles once. The small one serves the
# stragglers, which would otherwise cost as much as everybody.
_SIZES = (20, 100)


def base_policy(horizon: int) -> Policy:
  """Returns the frozen VLA, run open loop for `horizon` of its H steps."""
  return lambda percept, key: percept.reference[:, :horizon]


def actor_policy(
  nets: agent.Networks, params: Params, *, chunk: int, sigma: float
) -> Policy:
  """Returns the actor: its mean for sigma 0, else the exploring policy."""
  act = jax.jit(functools.partial(agent.act, nets))

  def policy(percept: Percept, key: PRNGKey) -> Array:
    reference = percept.reference[:, :chunk]
    return act(
      params, percept.z_rl, percept.proprio, reference, key, sigma
    )

  return policy


class Evaluator:
  """Runs policies on episodes 0..M-1 of one evaluation seed.

  Holds compiled functions only. Episode m always starts from the same state:
  its key is the seed's, folded with m.
  """

  def __init__(self, task: insertion.Task, perception: Perception, seed: int):
    self._task = task
    self._perception = perception
    self._key = jax.random.PRNGKey(seed)
    self._play = play_lib.make_play(task)
    self._begin = play_lib.make_begin(task)

  def initial_states(self, episodes: int) -> insertion.State:
    """Returns the worlds [M] that every policy starts from."""
    fold = functools.partial(jax.random.fold_in, self._key)
    return self._begin(jax.vmap(fold)(jnp.arange(episodes)))

  def run(
    self, policy: Policy, episodes: int, *, film: int = 0
  ) -> tuple[Episodes, list[Clip], list[list[insertion.State]]]:
    """Runs a policy to the end of every episode.

    Args:
      policy: maps percepts to chunks.
      episodes: M, how many initial states.
      film: the first so many episodes keep their states.

    Returns:
      The episodes, and per filmed episode its states, one [E=1] a step.
    """
    state = self.initial_states(episodes)
    key = jax.random.fold_in(self._key, 2**31 - 1)
    filmed: list[list[insertion.State]] = [[] for _ in range(film)]
    while True:
      live = np.flatnonzero(np.asarray(state.outcome) == Outcome.RUNNING)
      if not live.size:
        break
      for rows in _groups(live):
        key, percept_key, act_key = jax.random.split(key, 3)
        part = jax.tree.map(lambda x: x[rows], state)  # noqa: B023
        percept = self._perception.perceive(part, percept_key)
        chunk = policy(percept, act_key)
        played = self._play(
          part, self._perception.space.decode(chunk, percept.pose)
        )
        _keep_film(filmed, rows, played)
        state = jax.tree.map(
          lambda x, new: x.at[rows].set(new),  # noqa: B023
          state,
          played.final,
        )
    outcome = np.asarray(state.outcome)
    results = Episodes(
      success=outcome == Outcome.SUCCESS,
      steps=np.asarray(state.steps),
      outcome=outcome,
    )
    return results, filmed


def _groups(live: np.ndarray) -> list[np.ndarray]:
  """Splits row numbers into groups of the fixed sizes, padded by repeats."""
  groups = []
  size = _SIZES[1] if live.size > 2 * _SIZES[0] else _SIZES[0]
  for start in range(0, live.size, size):
    rows = live[start : start + size]
    # A repeated row computes the same thing twice and is written once more.
    groups.append(np.resize(rows, size) if rows.size < size else rows)
  return groups


def _keep_film(filmed, rows, played) -> None:
  steps = jax.tree.leaves(played.states)[0].shape[0]
  for e, row in enumerate(rows[: len(set(rows.tolist()))]):
    if row < len(filmed):
      for t in range(steps):
        if played.valid[e, t]:
          filmed[row].append(
            jax.tree.map(lambda x: np.asarray(x[t, e]), played.states)  # noqa: B023
          )


def clips(
  filmed: list[list[insertion.State]],
  episodes: Episodes,
  render: Callable[[insertion.State], dict[str, Array]],
  *,
  batch: int = 100,
) -> list[Clip]:
  """Renders filmed episodes, one frame a control step."""
  out = []
  for index, states in enumerate(filmed):
    count = len(states)
    stacked = jax.tree.map(lambda *x: np.stack(x), *states)
    padded = np.minimum(np.arange(-(-count // batch) * batch), count - 1)
    images = [
      render(jax.tree.map(lambda x: x[rows], stacked))  # noqa: B023
      for rows in padded.reshape(-1, batch)
    ]
    frames = {
      name: np.concatenate([np.asarray(i[name]) for i in images])[:count]
      for name in images[0]
    }
    code = int(episodes.outcome[index])
    out.append(Clip(frames, OUTCOMES[code], int(episodes.steps[index])))
  return out
