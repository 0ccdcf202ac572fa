"""Practice of several seeds in one process.

Each seed does the same as `loop.Practice`, with the same keys, rounds, rows and
updates. Its result differs from that of its own run by rounding only, which
contacts and learning amplify. The environments of all seeds step in one batch,
the VLA processes them in one batch, and actors and updates are vmapped over the
seeds.

All seeds take part in every round but execute different numbers of control
steps, since episodes end at different times. A finished seed's state no longer
changes; further computations for it are discarded. Dispatches of updates run
while any seed has pending updates; only seeds that have some keep the result.
"""

from collections.abc import Callable, Sequence
import concurrent.futures
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.batching import tree_select
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.training import loop as loop_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.loop import PracticeState
from rlt_jax.training.vmapped import VmappedActors, VmappedLearner

# One seed's metrics of a round; None if the seed had finished before it.
RoundMetrics = dict[str, Any] | None
# Called after every round: (state, metrics of each seed).
OnRound = Callable[[PracticeState, list[RoundMetrics]], None]


class MultiSeed:
  """Practice of S seeds.

  Leaves of their PracticeState lead with [S], except those of environments
  (states, features, segments), which lead with [S * E]. Counters are NumPy.
  """

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    agent: Agent,
    config: PracticeConfig,
    seeds: Sequence[int],
    place: Callable[[Any], Any] | None = None,
  ):
    """Binds task, agent and settings; holds no state.

    Args:
      rollout, perception, agent: shared by all.
      config: shared by all; its seed is not used.
      seeds: S different seeds.
      place: distributes a tree whose leaves lead with [S] or [S * E] over
        devices, see `sharding.shard`; None keeps it on one device.

    Raises:
      ValueError: no seed, or one twice, or a person, who helps one run.
    """
    if config.human.present:
      raise ValueError(
        'human.demo_steps and human.help_minutes must be 0 where several seeds '
        f'practice at once: {config.human.demo_steps}, '
        f'{config.human.help_minutes}. Practice them one by one, with '
        'experiments.practice or experiments.compare.'
      )
    if not seeds or len(set(seeds)) != len(seeds):
      raise ValueError(f'seeds must be one or more, none twice: {list(seeds)}.')
    self._agent, self._config = agent, config
    self._seeds, self._place = tuple(seeds), place
    num = len(seeds)
    self._actors = VmappedActors(rollout, perception, agent, config, num)
    self._learner = VmappedLearner(agent, perception.space.encode, config, num)
    self._select = jax.jit(tree_select)

  def init(self) -> PracticeState:
    """Returns the state after the first round, which the VLA drives."""
    num = len(self._seeds)
    keys = jnp.stack([jax.random.PRNGKey(seed) for seed in self._seeds])
    actors_keys, learner_keys = self._actors.split(self._placed(keys), 2)
    actors_state, first = self._actors.collect(
      self._actors.init(actors_keys), None
    )
    learner_state = self._learner.init(learner_keys, first.segment)
    none = np.full((num, loop_lib.HISTORY), -1, np.int32)
    all_seeds = np.ones(num, bool)
    return self._placed(PracticeState(
      actors=actors_state,
      learner=learner_state,
      pending=first.segment,
      policy=self._policy(learner_state.agent),
      env_steps=first.steps.reshape(num, -1).sum(1, dtype=np.int64),
      outcome=_append(none, first.outcome, first.ended, all_seeds),
      length=_append(none, first.length, first.ended, all_seeds),
    ))  # fmt: skip

  def run(self, state: PracticeState, on_round: OnRound) -> PracticeState:
    """Runs rounds until all seeds are done.

    Raises:
      FloatingPointError: a seed's loss or parameter is no longer finite.
    """
    config = self._config
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      while (active := state.env_steps < config.num_env_steps).any():
        start = time.perf_counter()
        warmup = loop_lib.in_warmup(config, state.env_steps, state.outcome)
        state, metrics, diverged = self._round(pool, state, active, warmup)
        _check_finite(self._seeds, state, metrics)
        round_s = time.perf_counter() - start
        on_round(state, [
          (metrics[i] or {}) | {
            'diverged_worlds': int(diverged[i]),
            'round_s': round_s,
            'phase': 'warm-up' if warmup[i] else 'practice',
          } if active[i] else None
          for i in range(len(self._seeds))
        ])  # fmt: skip
    return state

  def compile(self, state: PracticeState) -> None:
    """Compiles what a round will run; see `loop.Practice.compile`."""
    self._learner.compile(state.learner, state.pending)

  def split(self, state: PracticeState) -> list[PracticeState]:
    """Returns one PracticeState per seed, as of `loop.Practice`."""
    return [self.split_one(state, i) for i in range(len(self._seeds))]

  def split_one(self, state: PracticeState, index: int) -> PracticeState:
    """Returns the PracticeState of one seed, as of `loop.Practice`."""
    rest, env_leaves = _split_env_leaves(state)
    count = self._config.num_envs
    envs = slice(index * count, (index + 1) * count)
    rest = jax.tree.map(lambda x: x[index], rest)
    learner = rest.learner
    rest = rest.replace(
      env_steps=int(rest.env_steps),
      policy=jax.tree.map(np.asarray, rest.policy),
      learner=learner.replace(
        pending_updates=int(learner.pending_updates), rows=int(learner.rows)
      ),
    )
    return _join_env_leaves(rest, jax.tree.map(lambda x: x[envs], env_leaves))

  def join(self, states: Sequence[PracticeState]) -> PracticeState:
    """Inverts `split`; the seeds need not be in the same round."""
    rests, env_leaves = zip(*map(_split_env_leaves, states), strict=True)
    rest = jax.tree.map(_stack, *rests)
    rest = rest.replace(policy=jax.tree.map(jnp.asarray, rest.policy))
    together = jax.tree.map(lambda *x: jnp.concatenate(x), *env_leaves)
    return self._placed(_join_env_leaves(rest, together))

  def _round(
    self,
    pool: concurrent.futures.Executor,
    state: PracticeState,
    active: np.ndarray,
    warmup: np.ndarray,
  ) -> tuple[PracticeState, list[RoundMetrics], np.ndarray]:
    """Returns the state, each seed's metrics, and its diverged worlds [S]."""
    learning = pool.submit(
      self._learner.learn, state.learner, state.pending, active
    )
    if self._place is not None:
      # Programs on several devices must start in the same order on each.
      concurrent.futures.wait([learning])
    try:
      actors_state, output = self._actors.collect(
        state.actors, None if warmup.all() else (state.policy, warmup)
      )
    finally:
      learner_state, metrics = learning.result()
    steps, diverged = (
      x.reshape(len(self._seeds), -1).sum(1)
      for x in (output.steps, output.diverged)
    )
    actors_state, pending = self._select(
      active, (actors_state, output.segment), (state.actors, state.pending)
    )
    outcome, length, ended = output.outcome, output.length, output.ended
    return self._placed(PracticeState(
      actors=actors_state,
      learner=learner_state,
      pending=pending,
      policy=self._policy(learner_state.agent),
      env_steps=state.env_steps + steps * active,
      outcome=_append(state.outcome, outcome, ended, active),
      length=_append(state.length, length, ended, active),
    )), metrics, diverged  # fmt: skip

  def _policy(self, agent_state: Any) -> Any:
    # A copy, since the learner donates its params to the next update.
    return jax.tree.map(jnp.copy, self._agent.policy_params(agent_state))

  def _placed(self, tree: Any) -> Any:
    """Distributes the JAX arrays of a tree; counters stay on the host."""
    if self._place is None:
      return tree
    return jax.tree.map(
      lambda x: self._place(x) if isinstance(x, jax.Array) else x, tree
    )


def _split_env_leaves(state: PracticeState) -> tuple[PracticeState, Any]:
  """Splits a state into its leaves [S, ...] and its leaves [S * E, ...]."""
  actors, learner = state.actors, state.learner
  rest = state.replace(
    actors=actors.key, learner=learner.replace(previous=None), pending=None
  )
  return rest, (actors.replace(key=None), learner.previous, state.pending)


def _join_env_leaves(rest: PracticeState, env_leaves: Any) -> PracticeState:
  """Inverts `_split_env_leaves`."""
  actors, previous, pending = env_leaves
  return rest.replace(
    actors=actors.replace(key=rest.actors),
    learner=rest.learner.replace(previous=previous),
    pending=pending,
  )


def _stack(*leaves: Any) -> Any:
  on_device = isinstance(leaves[0], jax.Array)
  return jnp.stack(leaves) if on_device else np.stack(leaves)


def _append(
  history: np.ndarray, new: np.ndarray, ended: np.ndarray, active: np.ndarray
) -> np.ndarray:
  """Appends [S * E] to [S, HISTORY] where episodes of active seeds ended."""
  num = len(history)
  ended = ended.reshape(num, -1) & active[:, None]
  rows = zip(history, new.reshape(num, -1), ended, strict=True)
  return np.stack([loop_lib.append(h, x[own]) for h, x, own in rows])


def _check_finite(
  seeds: Sequence[int], state: PracticeState, metrics: Sequence[RoundMetrics]
) -> None:
  for seed, steps, own in zip(seeds, state.env_steps, metrics, strict=True):
    if own is not None and own['finite'] < 1.0:
      raise FloatingPointError(
        'Losses and parameters must stay finite: '
        f'seed {seed}, step {steps}, {own}.'
      )
