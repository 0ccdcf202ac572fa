"""E environments that execute one chunk per round."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.batching import tree_select
from rlt_jax.rollout.chunk_rollout import RolloutFns, Trajectory
from rlt_jax.rollout.perception import Perception
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Array, Features, Params, PRNGKey, Segment, Source


@chex.dataclass(frozen=True)
class ActorsState:
  """E environments between rounds; leaves lead with [E].

  env_states: running episodes. features: [E, d/s + 1, ...] their features
  d = `inference_delay` steps ago and every s = `replay_stride` steps since; the
  first entry decides the next chunk. key: consumed and replaced by every round.
  """

  env_states: Any
  features: Features
  key: PRNGKey


class CollectOutput(NamedTuple):
  """One round: the segment for replay, and the episodes that ended in it.

  steps: int [E] control steps executed. ended: bool [E], the episode ended in
  this round. outcome, length: int32 [E], of the ended ones.
  """

  segment: Segment
  steps: np.ndarray
  ended: np.ndarray
  outcome: np.ndarray
  length: np.ndarray


class Actors:
  """The E environments of one run, driven by the VLA or by the agent."""

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    agent: Agent,
    config: PracticeConfig,
    num_envs: int | None = None,
  ):
    """Binds the environments to one task and agent; holds no state.

    Args:
      rollout, perception: of the task.
      agent: gives the actor.
      config: of the run.
      num_envs: E; the config's if None.

    Raises:
      ValueError: a delay with actions that are not offsets.
    """
    if config.inference_delay and perception.space.mode != 'offset':
      raise ValueError(
        'A delay needs actions that are offsets from the observed pose: '
        f'{perception.space.mode!r}.'
      )
    self._rollout, self._perception, self._config = rollout, perception, config
    self.num_envs = config.num_envs if num_envs is None else num_envs
    self._agent = agent
    self._decode = jax.jit(perception.space.decode)
    self._act = jax.jit(agent.act)

  def init(self, key: PRNGKey) -> ActorsState:
    """Returns environments at the start of an episode. The key is consumed."""
    env_key, perceive_key, key = self.split(key, 3)
    env_states = self._reset(env_key)
    return ActorsState(
      env_states=env_states,
      features=self._first_features(env_states, perceive_key),
      key=key,
    )

  def collect(
    self, state: ActorsState, policy: Any
  ) -> tuple[ActorsState, CollectOutput]:
    """Executes one chunk in every environment.

    Args:
      state: of the environments.
      policy: the agent's policy params, as `drive` takes them; None lets the
        VLA drive.

    Raises:
      FloatingPointError: an action or observation that is not finite, named.
    """
    act_key, perceive_key, reset_key, first_key, key = self.split(state.key, 5)
    now = jax.tree.map(lambda x: x[:, 0], state.features)
    if policy is None:
      chunk = now.reference
      source = np.full(self.num_envs, Source.VLA, np.int32)
    else:
      chunk, source = self.drive(policy, now, act_key)
    check_finite(action_chunk=chunk)
    trajectory = self._rollout.chunk(
      state.env_states, self._decode(chunk, now.pose)
    )
    features = jax.tree.map(
      lambda before, new: jnp.concatenate([before, new], axis=1),
      state.features,
      self._features_during(trajectory, perceive_key),
    )
    check_finite(observation=features, command=trajectory.command)
    output = self._output(trajectory, features, source)
    num_rows = self._config.chunk_size // self._config.replay_stride
    env_states = trajectory.final
    features = jax.tree.map(lambda x: x[:, num_rows:], features)
    if output.ended.any():
      fresh = self._reset(reset_key)
      env_states = tree_select(output.ended, fresh, env_states)
      features = tree_select(
        output.ended, self._first_features(env_states, first_key), features
      )
    state = ActorsState(env_states=env_states, features=features, key=key)
    return state, output

  def split(self, key: PRNGKey, num: int) -> Any:
    """Returns `num` keys. The key is consumed."""
    return jax.random.split(key, num)

  def env_keys(self, key: PRNGKey) -> Array:
    """Returns a key for each environment, [E, ...]. The key is consumed."""
    return jax.random.split(key, self.num_envs)

  def perceive(self, env_states: Any, key: PRNGKey) -> Features:
    """Returns features [M * E] of the E environments at M steps."""
    return self._perception.perceive(env_states, key)

  def drive(
    self, policy: Params, now: Features, key: PRNGKey
  ) -> tuple[Array, np.ndarray]:
    """Returns normalized chunks [E, C, A] and their `Source`, int32 [E]."""
    chunk = self._act(policy, now, key, True)
    return chunk, np.full(self.num_envs, Source.ACTOR, np.int32)

  def _reset(self, key: PRNGKey) -> Any:
    return self._rollout.begin(self.env_keys(key), self.num_envs)

  def _first_features(self, env_states: Any, key: PRNGKey) -> Features:
    """Returns [E, d/s + 1, ...]: the first query decides the first d steps."""
    config = self._config
    seen = self.perceive(env_states, key)
    features = [
      slice_reference(seen, config.chunk_size, step)
      for step in range(0, config.inference_delay + 1, config.replay_stride)
    ]
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *features)

  def _features_during(self, trajectory: Trajectory, key: PRNGKey) -> Features:
    """Queries the VLA at steps s, 2s, ..., C in one batch: [E, C/s, ...].

    No step waits for these queries; most are only stored in replay.
    """
    config = self._config
    num_steps, num_envs = trajectory.states.steps.shape
    inside = jax.tree.map(
      lambda x: x[config.replay_stride : num_steps : config.replay_stride],
      trajectory.states,
    )
    env_states = jax.tree.map(
      lambda x, y: jnp.concatenate([x, y[None]]).reshape(-1, *x.shape[2:]),
      inside,
      trajectory.final,
    )
    features = slice_reference(
      self.perceive(env_states, key), config.chunk_size, config.inference_delay
    )
    return jax.tree.map(
      lambda x: jnp.swapaxes(x.reshape(-1, num_envs, *x.shape[1:]), 0, 1),
      features,
    )

  def _output(
    self, trajectory: Trajectory, features: Features, source: np.ndarray
  ) -> CollectOutput:
    chunk_size = self._config.chunk_size
    num_rows = chunk_size // self._config.replay_stride
    segment = Segment(
      features=jax.tree.map(lambda x: x[:, :num_rows], features),
      final=jax.tree.map(lambda x: x[:, num_rows], features),
      command=trajectory.command,
      reward=trajectory.reward,
      valid=trajectory.valid,
      terminated=trajectory.terminated,
      truncated=trajectory.truncated,
      source=jnp.asarray(np.repeat(source[:, None], chunk_size, axis=1)),
    )
    return CollectOutput(
      segment=segment,
      steps=np.asarray(trajectory.valid.sum(axis=1)),
      ended=np.asarray(trajectory.terminated | trajectory.truncated),
      outcome=np.asarray(trajectory.final.outcome),
      length=np.asarray(trajectory.final.steps),
    )


def slice_reference(
  features: Features, chunk_size: int, delay: int = 0
) -> Features:
  """Keeps C steps of the reference [..., H, A], from step `delay` on."""
  return features._replace(
    reference=features.reference[:, delay : delay + chunk_size]
  )


def check_finite(**arrays: Any) -> None:
  """Raises FloatingPointError that names the array with a NaN or infinity."""
  for name, tree in arrays.items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      if not np.isfinite(np.asarray(leaf)).all():
        leaf_name = name + jax.tree_util.keystr(path)
        raise FloatingPointError(f'Every number must be finite: {leaf_name}.')
