"""Actors and learner of several seeds, vmapped over the seeds.

Leaves that lead with [S] have one entry per seed. Leaves that lead with [S * E]
have the E environments of each seed next to each other.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import replay
from rlt_jax.agents.agent import Agent
from rlt_jax.batching import tree_select
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.training.actors import Actors
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.learner import copied, Learner, LearnerState, mean_metrics
from rlt_jax.types import Array, Features, PRNGKey, Segment, Source


class VmappedLearner(Learner):
  """The learner of S seeds.

  Its state leads with [S], but the previous segment with [S * E].
  pending_updates and rows are int64 [S].
  """

  def __init__(
    self,
    agent: Agent,
    encode: Callable[[Array, Array], Array],
    config: PracticeConfig,
    num_seeds: int,
  ):
    """Binds the learner; see `Learner`."""
    super().__init__(agent, encode, config)
    self._num_seeds = num_seeds
    self._add = jax.jit(jax.vmap(self._ring.add), donate_argnums=0)
    self._update = jax.jit(self._update_seeds, donate_argnums=0)
    self._select = jax.jit(tree_select)

  def init(self, key: PRNGKey, segment: Segment) -> LearnerState:
    """Returns the state before the first segment [S * E].

    The keys, [S], are consumed.
    """
    num = self._num_seeds
    row_spec = self._agent.row_spec
    return LearnerState(
      agent=jax.vmap(self._agent.init)(key),
      replay=jax.vmap(lambda _: self._ring.init(row_spec))(jnp.arange(num)),
      previous=replay.empty_segment(segment),
      pending_updates=np.zeros(num, np.int64),
      rows=np.zeros(num, np.int64),
    )

  def learn(
    self, state: LearnerState, segment: Segment, active: np.ndarray
  ) -> tuple[LearnerState, list[dict[str, float] | None]]:
    """Stores rows and updates the agents of the active seeds.

    Args:
      state: consumed.
      segment: [S * E].
      active: bool [S]; the other seeds do not change.

    Returns:
      The state, and each seed's mean metrics; None where it made no update.
    """
    agent, config = self._agent, self._config
    rows, keep = self._reshaped_rows(state.previous, segment)
    keep &= active[:, None]
    num_stored = np.asarray(keep.sum(axis=1))
    replay_state = self._add(state.replay, rows, keep)
    agent_state, dispatches = state.agent, []
    pending = state.pending_updates + num_stored * config.utd_ratio
    total = state.rows + num_stored
    ready = active & (total >= config.learning_starts)
    while (updates := ready & (pending >= agent.updates_per_dispatch)).any():
      agent_state, metrics = self._update(agent_state, replay_state, updates)
      dispatches.append((updates, metrics))
      pending = pending - agent.updates_per_dispatch * updates
    state = LearnerState(
      agent=agent_state,
      replay=replay_state,
      previous=self._select(active, segment, state.previous),
      pending_updates=pending,
      rows=total,
    )
    jax.block_until_ready(agent.policy_params(agent_state))
    dispatches = jax.device_get(dispatches)
    return state, [
      seed_metrics(dispatches, seed) for seed in range(self._num_seeds)
    ]

  def compile(self, state: LearnerState, segment: Segment) -> None:
    """Compiles what `learn` runs; the state is not consumed."""
    active = np.ones(self._num_seeds, bool)
    rows, keep = self._reshaped_rows(state.previous, segment)
    agent_state, replay_state = copied((state.agent, state.replay))
    replay_state = self._add(replay_state, rows, keep & active[:, None])
    jax.block_until_ready(self._update(agent_state, replay_state, active))

  def _reshaped_rows(self, previous: Segment, segment: Segment) -> Any:
    """Returns rows and which to keep, both leading with [S]."""
    return jax.tree.map(
      lambda x: x.reshape(self._num_seeds, -1, *x.shape[1:]),
      self._build_rows(previous, segment),
    )

  def _update_seeds(self, agent_state: Any, replay_state: Any, mask: Array):
    """Updates all seeds; keeps the result where the mask, bool [S], is True."""
    after, metrics = jax.vmap(self._update_agent)(agent_state, replay_state)
    return tree_select(mask, after, agent_state), metrics


class VmappedActors(Actors):
  """The environments of S seeds; their keys lead with [S]."""

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    agent: Agent,
    config: PracticeConfig,
    num_seeds: int,
  ):
    """Binds the environments; see `Actors`."""
    num_envs = num_seeds * config.num_envs
    super().__init__(rollout, perception, agent, config, num_envs)
    self._num_seeds = num_seeds
    self._act = jax.jit(jax.vmap(agent.act, in_axes=(0, 0, 0, None)))
    self._split_each = jax.vmap(jax.random.split, in_axes=(0, None))

  def split(self, key: PRNGKey, num: int) -> Any:
    """Returns `num` arrays of keys [S]; the keys [S] are consumed."""
    return jnp.swapaxes(self._split_each(key, num), 0, 1)

  def env_keys(self, key: PRNGKey) -> Array:
    """Returns a key for each environment, [S * E]; keys [S] are consumed."""
    keys = self._split_each(key, self._config.num_envs)
    return keys.reshape(self.num_envs, *keys.shape[2:])

  def perceive(self, env_states: Any, key: PRNGKey) -> Features:
    """Returns features [M * S * E]; keys [S] are consumed."""
    # The VLA needs the environments of a seed next to each other: [S * M * E].
    seeds, count = self._num_seeds, self._config.num_envs
    features = self._perception.perceive_each(
      regroup(env_states, -1, seeds, count), key
    )
    return regroup(features, seeds, -1, count)

  def drive(
    self, policy: Any, now: Features, key: PRNGKey
  ) -> tuple[Array, np.ndarray]:
    """Returns chunks [S * E, C, A] and their `Source`, int32 [S * E].

    Args:
      policy: policy params [S], and bool [S] where the VLA still drives.
      now: [S * E]. key: [S], consumed.
    """
    return self._act_or(policy, now, key, now.reference)

  def steer(
    self, policy: Any, now: Features, key: PRNGKey
  ) -> tuple[Array, np.ndarray]:
    """Returns noise [S * E, H, A] and `Source`; see `drive`."""
    count = self._config.num_envs
    prior = jnp.concatenate([self._agent.prior_noise(k, count) for k in key])
    if policy is None:
      return prior, np.full(self.num_envs, Source.VLA, np.int32)
    return self._act_or(policy, now, key, prior)

  def _act_or(
    self, policy: Any, now: Features, key: PRNGKey, warmup_choice: Array
  ) -> tuple[Array, np.ndarray]:
    params, warmup = policy
    count = self._config.num_envs
    by_seed = jax.tree.map(
      lambda x: x.reshape(self._num_seeds, count, *x.shape[1:]), now
    )
    chosen = self._act(params, by_seed, key, True)
    warmup = np.repeat(warmup, count)
    chosen = tree_select(
      warmup, warmup_choice, chosen.reshape(warmup_choice.shape)
    )
    return chosen, np.where(warmup, Source.VLA, Source.ACTOR).astype(np.int32)


def regroup(tree: Any, a: int, b: int, count: int) -> Any:
  """Turns leaves [a * b * count, ...] into [b * a * count, ...]."""

  def move(x):
    x = x.reshape(a, b, count, *x.shape[1:])
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[3:])

  return jax.tree.map(move, tree)


def seed_metrics(
  dispatches: list[tuple[Array, Mapping[str, Array]]], seed: int
) -> dict[str, float] | None:
  """Returns the means of one seed over the dispatches that it kept.

  Args:
    dispatches: of each dispatch, (bool [S] seeds that kept it, metrics [S]).
    seed: index of the seed.
  """
  return mean_metrics([
    {name: value[seed] for name, value in metrics.items()}
    for kept, metrics in dispatches
    if kept[seed]
  ])  # fmt: skip
