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
from rlt_jax.reporting.video import Clip, view_steps
from rlt_jax.rollout.chunk_rollout import (
  executed_states,
  find_diverged,
  RolloutFns,
  Trajectory,
)
from rlt_jax.rollout.perception import Perception
from rlt_jax.types import Array, Features, Outcome, Params, PRNGKey

# A policy maps (features [B], key) to normalized chunks [B, C, A].
Policy = Callable[[Features, PRNGKey], Array]


class Steering(NamedTuple):
  """A policy that chooses the initial noise of the VLA's flow.

  noise: (features [B], key) -> noise [B, H, A]. steps: of the VLA's chunk for
  it that are executed.
  """

  noise: Callable[[Features, PRNGKey], Array]
  steps: int


_VIEWS = 8  # large pictures rendered at a time
_THREADS = 2  # groups at once: physics is serial, the VLA is not


class Sizes(NamedTuple):
  """Environments per call: two sizes, since each size compiles once.

  The small size is for the last running episodes, which would cost as much as
  all of them with the large one. With the sizes of practice nothing new is
  compiled.
  """

  small: int
  large: int


def base_policy(horizon: int) -> Policy:
  """Returns the frozen VLA, run open loop for `horizon` of its H steps."""
  return lambda features, key: features.reference[:, :horizon]


def agent_policy(
  agent: Agent, params: Params, *, chunk_size: int, explore: bool
) -> Policy | Steering:
  """Returns the agent as a policy: deterministic, or as it explores."""
  act = jax.jit(agent.act)

  def policy(features: Features, key: PRNGKey) -> Array:
    return act(params, features.steps(0, chunk_size), key, explore)

  return Steering(policy, chunk_size) if agent.prior_noise else policy


def with_check(
  policy: Policy | Steering, check: Callable[[], None]
) -> Policy | Steering:
  """Returns the policy; each of its calls calls `check` first."""
  act = policy.noise if isinstance(policy, Steering) else policy

  def checked(features: Features, key: PRNGKey) -> Array:
    check()
    return act(features, key)

  if isinstance(policy, Steering):
    return policy._replace(noise=checked)
  return checked


class Evaluator:
  """Runs policies on episodes 0..M-1 of one evaluation seed.

  It holds compiled functions only. Episode m always starts from the same state:
  its key is fold_in(key of the seed, m).
  """

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    *,
    seed: int,
    chunk: int,
    sizes: Sizes,
    delay: int = 0,
  ):
    """Sets sizes and seed; compiles nothing yet.

    Args:
      rollout, perception: as in practice.
      seed: of the start states.
      chunk: C; a policy's chunks are multiples of it.
      sizes: environments per call.
      delay: control steps from an observation to the first step it decides.
    """
    self._chunk_size, self.sizes, self._delay = chunk, sizes, delay
    self._perception = perception
    self._key = jax.random.PRNGKey(seed)
    self._rollout = rollout
    self._compiled: set[int] = set()  # group sizes

  def initial_states(self, episodes: int) -> Any:
    """Returns the states [M] that every policy starts from."""
    fold = functools.partial(jax.random.fold_in, self._key)
    keys = jax.vmap(fold)(jnp.arange(episodes))
    return self._rollout.begin(keys, self.sizes.small)

  def run(
    self,
    policy: Policy | Steering,
    episodes: int,
    *,
    film: int = 0,
    prompt: str | None = None,
  ) -> tuple[Episodes, list[list[Any]]]:
    """Runs a policy to the end of every episode.

    Args:
      policy: maps features to chunks.
      episodes: M, how many initial states.
      film: number of episodes, the first ones, whose states are kept.
      prompt: replaces the task's instruction.

    Returns:
      The episodes, and for each filmed one its states, one per control step.
    """
    final, filmed = self.trace(policy, episodes, film=film, prompt=prompt)
    outcome = np.asarray(final.outcome)
    return Episodes(
      success=outcome == Outcome.SUCCESS,
      steps=np.asarray(final.steps),
      outcome=outcome,
    ), filmed

  def trace(
    self,
    policy: Policy | Steering,
    episodes: int,
    *,
    film: int = 0,
    prompt: str | None = None,
  ) -> tuple[Any, list[list[Any]]]:
    """As `run`; returns the final states [M] in place of the episodes."""
    # NumPy: the number of running episodes changes, and nothing must recompile.
    state = jax.tree.map(np.array, self.initial_states(episodes))
    seen, started = jax.tree.map(np.copy, state), False
    key = jax.random.fold_in(self._key, 2**31 - 1)
    filmed: list[list[Any]] = [[] for _ in range(film)]

    def act_and_step(rows: np.ndarray, keys: PRNGKey) -> list[Trajectory]:
      return self._act_and_step(
        policy,
        *jax.tree.map(lambda x: x[rows], (state, seen)),
        keys,
        # What is seen first is not seen before the first step.
        self._delay if started else 0,
        prompt,
      )

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      self._compile_sizes(pool, state, episodes)
      while True:
        running = np.flatnonzero(np.asarray(state.outcome) == Outcome.RUNNING)
        if not running.size:
          break
        groups, keys = _groups(running, self.sizes), []
        for _ in groups:
          key, *group_keys = jax.random.split(key, 3)
          keys.append(group_keys)
        results = list(pool.map(act_and_step, groups, keys))
        for rows, trajectories in zip(groups, results, strict=True):
          for trajectory in trajectories:
            _keep_film(filmed, rows, trajectory)
          last = trajectories[-1]
          before = jax.tree.map(lambda x: x[rows], state)  # noqa: B023
          _write(state, rows, last.final)
          _write(seen, rows, _before_end(last, self._delay))
          _end(state, rows[find_diverged(before, last.final)])
        started = True
    return state, filmed

  def _act_and_step(
    self,
    policy: Policy | Steering,
    state: Any,
    seen: Any,
    keys: PRNGKey,
    delay: int,
    prompt: np.ndarray | None,
  ) -> list[Trajectory]:
    """Queries the policy once and executes its chunks.

    Args:
      policy: maps features to chunks.
      state: of the group's environments.
      seen: the same environments, `delay` steps ago.
      keys: of perception and of the policy, consumed.
      delay: number of steps of the reference that have already passed.
      prompt: see `run`.
    """
    perceive_key, act_key = keys
    features = self._perception.perceive(seen, perceive_key, prompt)
    features = features.steps(delay, None)
    if isinstance(policy, Steering):
      noise = policy.noise(features, act_key)
      chunk = self._perception.sample(seen, noise[:, None], prompt)
      chunk = chunk[:, 0, delay : delay + policy.steps]
    else:
      chunk = policy(features, act_key)
    commands = self._perception.space.decode(chunk, features.pose)
    trajectories = []
    for start in range(0, commands.shape[1], self._chunk_size):
      part = commands[:, start : start + self._chunk_size]
      trajectories.append(self._rollout.chunk(state, part))
      state = trajectories[-1].final
    return jax.block_until_ready(trajectories)

  def _compile_sizes(
    self, pool: concurrent.futures.Executor, state: Any, episodes: int
  ) -> None:
    """Compiles each group size once, in parallel.

    Otherwise two groups of one size that start together would both compile it.
    The small size is always needed, for the last episodes.
    """
    first = map(len, _groups(np.arange(episodes), self.sizes))
    new = {*first, self.sizes.small} - self._compiled
    list(pool.map(functools.partial(self._compile, state), new))
    self._compiled |= new

  def _compile(self, state: Any, size: int) -> None:
    """Perceives and steps once with `size` environments; drops the result."""
    part = jax.tree.map(lambda x: np.resize(x, (size, *x.shape[1:])), state)
    features = self._perception.perceive(part, self._key, None)
    chunk = features.reference[:, : self._chunk_size]
    commands = self._perception.space.decode(chunk, features.pose)
    jax.block_until_ready(self._rollout.chunk(part, commands))


def _groups(running: np.ndarray, sizes: Sizes) -> list[np.ndarray]:
  """Splits row numbers into groups of the two sizes, padded by repeats."""
  groups, start = [], 0
  while start < running.size:
    left = running.size - start
    size = sizes.large if left > 2 * sizes.small else sizes.small
    # The results of repeated rows are discarded.
    groups.append(np.resize(running[start : start + size], size))
    start += size
  return groups


def _before_end(trajectory: Trajectory, steps: int) -> Any:
  """Returns the states [E] `steps` control steps before the chunk's end."""
  if not steps:
    return trajectory.final
  return jax.tree.map(lambda x: x[-steps], trajectory.states)


def _write(state: Any, rows: np.ndarray, part: Any) -> None:
  """Writes states back in place; of a padded group only the real rows."""
  count = len(np.unique(rows))
  for old, new in zip(
    jax.tree.leaves(state), jax.tree.leaves(part), strict=True
  ):
    old[rows[:count]] = np.asarray(new)[:count]


def _end(state: Any, rows: np.ndarray) -> None:
  """Ends running episodes in place, as failed: nothing can be seen of them."""
  running = state.outcome[rows] == Outcome.RUNNING
  state.outcome[rows[running]] = Outcome.TIME_OUT


def _keep_film(
  filmed: list[list[Any]], rows: np.ndarray, trajectory: Trajectory
) -> None:
  """Appends the steps of filmed episodes."""
  count = len(np.unique(rows))
  wanted = [(e, row) for e, row in enumerate(rows[:count]) if row < len(filmed)]
  if not wanted:
    return
  made = executed_states(trajectory, [e for e, _ in wanted])
  for (_, row), states in zip(wanted, made, strict=True):
    filmed[row] += states


def clips(
  filmed: list[list[Any]],
  episodes: Episodes,
  render: Callable[[Any], dict[str, Array]],
  batch: int,
  outcomes: Sequence[str],
  view: Callable[[Any], Array] | None = None,
) -> list[Clip]:
  """Renders filmed episodes, one frame per control step.

  Args:
    filmed: states of each episode.
    episodes: how they ended.
    render, view: of the task.
    batch: states rendered at a time.
    outcomes: the task's names of outcomes by code.
  """
  out = []
  for index, states in enumerate(filmed):
    stacked = jax.tree.map(lambda *x: np.stack(x), *states)
    frames = map_in_batches(
      lambda part: jax.tree.map(np.asarray, render(part)), stacked, batch
    )
    code = int(episodes.outcome[index])
    steps, large = int(episodes.steps[index]), None
    if view is not None:
      rows = view_steps(steps)
      seen = jax.tree.map(lambda x: x[rows], stacked)  # noqa: B023
      large = map_in_batches(lambda part: np.asarray(view(part)), seen, _VIEWS)
    out.append(Clip(frames, outcomes[code], steps, large))
  return out
