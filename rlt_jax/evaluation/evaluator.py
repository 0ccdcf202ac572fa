"""Evaluation on a fixed list of initial states, the same for every policy."""

from collections.abc import Callable, Sequence
import concurrent.futures
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.batching import map_in_batches
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.reporting.video import Clip
from rlt_jax.rollout.chunk_rollout import RolloutFns, Trajectory
from rlt_jax.rollout.perception import Perception
from rlt_jax.types import Array, Features, Outcome, Params, PRNGKey

# A policy maps (percept [B], key) to normalised chunks [B, C, A].
Policy = Callable[[Features, PRNGKey], Array]

_THREADS = 2  # groups at once: physics is serial, the VLA is not


class Sizes(NamedTuple):
  """Worlds a call: two sizes, since each compiles once.

  The small one serves the stragglers, which would otherwise cost as much as
  everybody. Practice's own sizes compile nothing new.
  """

  small: int
  large: int


def base_policy(horizon: int) -> Policy:
  """Returns the frozen VLA, run open loop for `horizon` of its H steps."""
  return lambda percept, key: percept.reference[:, :horizon]


def agent_policy(
  agent: Agent, params: Params, *, chunk_size: int, explore: bool
) -> Policy:
  """Returns the agent as a policy: deterministic, or as it explores."""
  act = jax.jit(agent.act)

  def policy(features: Features, key: PRNGKey) -> Array:
    reference = features.reference[:, :chunk_size]
    return act(params, features._replace(reference=reference), key, explore)

  return policy


class Evaluator:
  """Runs policies on episodes 0..M-1 of one evaluation seed.

  Holds compiled functions only. Episode m always starts from the same state:
  its key is the seed's, folded with m.
  """

  def __init__(
    self,
    play: RolloutFns,
    perception: Perception,
    *,
    seed: int,
    chunk: int,
    sizes: Sizes,
    delay: int = 0,
  ):
    """Prepares evaluation.

    Args:
      play, perception: as practised.
      seed: of the start states.
      chunk: C; a policy's chunks are multiples of it.
      sizes: worlds a call.
      delay: control steps from what is seen to the step that it decides.
    """
    self._chunk, self.sizes, self._delay = chunk, sizes, delay
    self._perception = perception
    self._key = jax.random.PRNGKey(seed)
    self._play = play
    self._compiled: set[int] = set()  # group sizes

  def initial_states(self, episodes: int) -> Any:
    """Returns the worlds [M] that every policy starts from."""
    fold = functools.partial(jax.random.fold_in, self._key)
    keys = jax.vmap(fold)(jnp.arange(episodes))
    return self._play.begin(keys, self.sizes.small)

  def run(
    self,
    policy: Policy,
    episodes: int,
    *,
    film: int = 0,
    prompt: str | None = None,
  ) -> tuple[Episodes, list[list[Any]]]:
    """Runs a policy to the end of every episode.

    Args:
      policy: maps percepts to chunks.
      episodes: M, how many initial states.
      film: the first so many episodes keep their states.
      prompt: replaces the task's instruction.

    Returns:
      The episodes, and per filmed episode its states, one a step.
    """
    # NumPy: rows come and go in every number, and nothing must recompile.
    state = jax.tree.map(np.array, self.initial_states(episodes))
    seen, begun = jax.tree.map(np.copy, state), False
    key = jax.random.fold_in(self._key, 2**31 - 1)
    filmed: list[list[Any]] = [[] for _ in range(film)]

    def decide_and_play(rows: np.ndarray, key: PRNGKey):
      percept_key, act_key = key
      part, look = jax.tree.map(lambda x: x[rows], (state, seen))
      percept = self._perception.perceive(look, percept_key, prompt)
      # The first look was not before the first step.
      first = self._delay if begun else 0
      percept = percept._replace(reference=percept.reference[:, first:])
      chunk = policy(percept, act_key)
      commands = self._perception.space.decode(chunk, percept.pose)
      chunks = []
      for start in range(0, commands.shape[1], self._chunk):
        now = commands[:, start : start + self._chunk]
        chunks.append(self._play.chunk(part, now))
        part = chunks[-1].final
      return jax.block_until_ready(chunks)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      # Side by side, and each once: two groups would both do the work. In
      # the end there are stragglers, however it begins.
      first = map(len, _groups(np.arange(episodes), self.sizes))
      new = {*first, self.sizes.small} - self._compiled
      list(pool.map(functools.partial(self._compile, state), new))
      self._compiled |= new
      while True:
        live = np.flatnonzero(np.asarray(state.outcome) == Outcome.RUNNING)
        if not live.size:
          break
        groups, keys = _groups(live, self.sizes), []
        for _ in groups:
          key, *parts = jax.random.split(key, 3)
          keys.append(parts)
        done = list(pool.map(decide_and_play, groups, keys))
        for rows, chunks in zip(groups, done, strict=True):
          for played in chunks:
            _keep_film(filmed, rows, played)
          _write(state, rows, chunks[-1].final)
          _write(seen, rows, _before_end(chunks[-1], self._delay))
        begun = True
    outcome = np.asarray(state.outcome)
    results = Episodes(
      success=outcome == Outcome.SUCCESS,
      steps=np.asarray(state.steps),
      outcome=outcome,
    )
    return results, filmed

  def _compile(self, state: Any, size: int) -> None:
    """Looks and plays once, `size` worlds wide; nothing comes of it."""
    part = jax.tree.map(lambda x: np.resize(x, (size, *x.shape[1:])), state)
    percept = self._perception.perceive(part, self._key, None)
    chunk = percept.reference[:, : self._chunk]
    commands = self._perception.space.decode(chunk, percept.pose)
    jax.block_until_ready(self._play.chunk(part, commands))


def _groups(live: np.ndarray, sizes: Sizes) -> list[np.ndarray]:
  """Splits row numbers into groups of the two sizes, padded by repeats."""
  groups, start = [], 0
  while start < live.size:
    left = live.size - start
    size = sizes.large if left > 2 * sizes.small else sizes.small
    # Repeated rows are computed and thrown away.
    groups.append(np.resize(live[start : start + size], size))
    start += size
  return groups


def _before_end(played: Trajectory, steps: int) -> Any:
  """Returns the worlds [E] so many steps before the chunk's end."""
  if not steps:
    return played.final
  return jax.tree.map(lambda x: x[-steps], played.states)


def _write(state: Any, rows: np.ndarray, part) -> None:
  """Writes worlds back in place; of a padded group only the real rows."""
  count = len(np.unique(rows))
  for old, new in zip(
    jax.tree.leaves(state), jax.tree.leaves(part), strict=True
  ):
    old[rows[:count]] = np.asarray(new)[:count]


def _keep_film(
  filmed: list[list[Any]],
  rows: np.ndarray,
  played: Trajectory,
) -> None:
  """Appends the steps of filmed episodes."""
  count = len(np.unique(rows))
  wanted = [(e, row) for e, row in enumerate(rows[:count]) if row < len(filmed)]
  if not wanted:
    return
  states = jax.tree.map(np.asarray, played.states)
  valid = np.asarray(played.valid)
  for e, row in wanted:
    for t in np.flatnonzero(valid[e]):
      filmed[row].append(jax.tree.map(lambda x: x[t, e], states))  # noqa: B023


def clips(
  filmed: list[list[Any]],
  episodes: Episodes,
  render: Callable[[Any], dict[str, Array]],
  batch: int,
  outcomes: Sequence[str],
) -> list[Clip]:
  """Renders filmed episodes, one frame a control step, `batch` at a time.

  `outcomes` are the task's names of outcomes by code.
  """
  out = []
  for index, states in enumerate(filmed):
    stacked = jax.tree.map(lambda *x: np.stack(x), *states)
    frames = map_in_batches(
      lambda part: jax.tree.map(np.asarray, render(part)), stacked, batch
    )
    code = int(episodes.outcome[index])
    out.append(Clip(frames, outcomes[code], int(episodes.steps[index])))
  return out
