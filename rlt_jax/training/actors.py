"""E environments that execute one chunk per round."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.batching import tree_select
from rlt_jax.rollout.chunk_rollout import (
  find_diverged,
  RolloutFns,
  Trajectory,
)
from rlt_jax.rollout.perception import Perception
from rlt_jax.rollout.simulated_human import HumanState, SimulatedHuman
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import (
  Array,
  Features,
  Outcome,
  Params,
  PRNGKey,
  Segment,
  Source,
)


@chex.dataclass(frozen=True)
class ActorsState:
  """E environments between rounds; leaves lead with [E].

  env_states: running episodes. features: [E, d/s + 1, ...] their features
  d = `inference_delay` steps ago and every s = `replay_stride` steps since; the
  first entry decides the next chunk. key: consumed and replaced by every round.
  human: of a simulated person; None without one.
  """

  env_states: Any
  features: Features
  key: PRNGKey
  human: HumanState | None = None


class CollectOutput(NamedTuple):
  """One round: the segment for replay, and the episodes that ended in it.

  steps: int [E] control steps executed. ended: bool [E], the episode ended in
  this round. outcome, length: int32 [E], of the ended ones. diverged: bool [E],
  the numbers of the world were no longer finite: its episode has failed, and
  nothing of it is in the segment. human_steps: of these, a person drove.
  """

  segment: Segment
  steps: np.ndarray
  ended: np.ndarray
  outcome: np.ndarray
  length: np.ndarray
  diverged: np.ndarray
  human_steps: int


class Actors:
  """The E environments of one run, driven by the VLA or by the agent."""

  def __init__(
    self,
    rollout: RolloutFns,
    perception: Perception,
    agent: Agent,
    config: PracticeConfig,
    num_envs: int | None = None,
    human: SimulatedHuman | None = None,
  ):
    """Binds the environments to one task and agent; holds no state.

    Args:
      rollout, perception: of the task.
      agent: gives the actor.
      config: of the run.
      num_envs: E; the config's if None.
      human: who helps; None for nobody.

    Raises:
      ValueError: a delay with actions that are not offsets, or an agent that
        steers the VLA with a delay, with a person or with rows that start
        inside a chunk.
    """
    if agent.prior_noise is not None:
      _check_steering(config, human)
    if config.inference_delay and perception.space.mode != 'offset':
      raise ValueError(
        'A delay needs actions that are offsets from the observed pose: '
        f'{perception.space.mode!r}.'
      )
    self._rollout, self._perception, self._config = rollout, perception, config
    self.num_envs = config.num_envs if num_envs is None else num_envs
    self._agent, self._human = agent, human
    self._decode = jax.jit(perception.space.decode)
    self._act = jax.jit(agent.act)

  def init(self, key: PRNGKey) -> ActorsState:
    """Returns environments at the start of an episode. The key is consumed."""
    env_key, perceive_key, key = self.split(key, 3)
    env_states = self._reset(env_key)
    human = None
    if self._human is not None:
      human_key, key = self.split(key, 2)
      human = self._human.init(env_states, human_key)
    return ActorsState(
      env_states=env_states,
      features=self._first_features(env_states, perceive_key),
      key=key,
      human=human,
    )

  def collect(
    self, state: ActorsState, policy: Any
  ) -> tuple[ActorsState, CollectOutput]:
    """Executes one chunk in every environment.

    Args:
      state: of the environments.
      policy: the agent's policy params, as `drive` takes them; None lets the
        VLA drive.

    A world whose state is no longer finite begins a new episode.

    Raises:
      FloatingPointError: an action or an observation of a finite world that is
        not finite, named.
    """
    act_key, perceive_key, reset_key, first_key, key = self.split(state.key, 5)
    now = jax.tree.map(lambda x: x[:, 0], state.features)
    noise = None
    if self._agent.prior_noise is not None:
      noise, source = self.steer(policy, now, act_key)
      chunk = self._perception.sample(state.env_states, noise[:, None])
      chunk = chunk[:, 0, : self._config.chunk_size]
    elif policy is None:
      chunk = now.reference
      source = np.full(self.num_envs, Source.VLA, np.int32)
    else:
      chunk, source = self.drive(policy, now, act_key)
    check_finite(action_chunk=chunk)
    commands, human = self._decode(chunk, now.pose), state.human
    if human is None:
      driven = self._rollout.chunk(state.env_states, commands)
    else:
      driven, human = self._human.chunk(human, state.env_states, commands)
      source = np.where(human.driving, Source.HUMAN, source).astype(np.int32)
    diverged = find_diverged(state.env_states, driven.final)
    if human is not None and diverged.any():
      # What the person remembers of such a world is not finite either.
      memory = tree_select(diverged, state.human.memory, human.memory)
      human = human.replace(memory=memory)
    trajectory = without(diverged, state.env_states, driven)
    features = jax.tree.map(
      lambda before, new: jnp.concatenate([before, new], axis=1),
      state.features,
      self._features_during(trajectory, perceive_key),
    )
    check_finite(observation=features, command=trajectory.command)
    segment = self._segment(trajectory, features, source, noise)
    output = _output(segment, driven, diverged)
    num_rows = self._config.chunk_size // self._config.replay_stride
    env_states = trajectory.final
    features = jax.tree.map(lambda x: x[:, num_rows:], features)
    if output.ended.any():
      fresh = self._reset(reset_key)
      env_states = tree_select(output.ended, fresh, env_states)
      features = tree_select(
        output.ended, self._first_features(env_states, first_key), features
      )
    state = ActorsState(
      env_states=env_states, features=features, key=key, human=human
    )
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

  def steer(
    self, policy: Params | None, now: Features, key: PRNGKey
  ) -> tuple[Array, np.ndarray]:
    """Returns the VLA's initial noise [E, H, A] and `Source`, int32 [E]."""
    if policy is not None:
      return self.drive(policy, now, key)
    noise = self._agent.prior_noise(key, self.num_envs)
    return noise, np.full(self.num_envs, Source.VLA, np.int32)

  def _reset(self, key: PRNGKey) -> Any:
    return self._rollout.begin(self.env_keys(key), self.num_envs)

  def _first_features(self, env_states: Any, key: PRNGKey) -> Features:
    """Returns [E, d/s + 1, ...]: the first query decides the first d steps."""
    config = self._config
    seen = self.perceive(env_states, key)
    features = [
      seen.steps(step, step + config.chunk_size)
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
    delay = config.inference_delay
    features = self.perceive(env_states, key).steps(
      delay, delay + config.chunk_size
    )
    return jax.tree.map(
      lambda x: jnp.swapaxes(x.reshape(-1, num_envs, *x.shape[1:]), 0, 1),
      features,
    )

  def _segment(
    self,
    trajectory: Trajectory,
    features: Features,
    source: np.ndarray,
    noise: Array | None,
  ) -> Segment:
    chunk_size = self._config.chunk_size
    num_rows = chunk_size // self._config.replay_stride
    return Segment(
      features=jax.tree.map(lambda x: x[:, :num_rows], features),
      final=jax.tree.map(lambda x: x[:, num_rows], features),
      command=trajectory.command,
      reward=trajectory.reward,
      valid=trajectory.valid,
      terminated=trajectory.terminated,
      truncated=trajectory.truncated,
      source=jnp.asarray(np.repeat(source[:, None], chunk_size, axis=1)),
      noise=noise,
    )


def _output(
  segment: Segment, driven: Trajectory, diverged: np.ndarray
) -> CollectOutput:
  """Returns a round; a diverged world has failed, at the time limit if not so.

  Args:
    segment: without the diverged worlds.
    driven: with them.
    diverged: bool [E].
  """
  outcome = np.asarray(driven.final.outcome)
  failed = outcome > Outcome.SUCCESS
  return CollectOutput(
    segment=segment,
    steps=np.asarray(driven.valid.sum(axis=1)),
    ended=np.asarray(segment.terminated | segment.truncated),
    outcome=np.where(diverged & ~failed, Outcome.TIME_OUT, outcome),
    length=np.asarray(driven.final.steps),
    diverged=diverged,
    human_steps=int((driven.valid & (segment.source == Source.HUMAN)).sum()),
  )


def without(
  worlds: np.ndarray, before: Any, trajectory: Trajectory
) -> Trajectory:
  """Returns a trajectory in which some worlds stand still and are cut off.

  No row is built from their steps, nor one that would end in them.

  Args:
    worlds: bool [E].
    before: states [E] before the first step, finite.
    trajectory: of E worlds.
  """
  if not worlds.any():
    return trajectory
  none = jax.tree.map(jnp.zeros_like, trajectory)
  still = none._replace(
    states=jax.tree.map(
      lambda x, like: jnp.broadcast_to(x, like.shape), before, none.states
    ),
    final=before,
    truncated=jnp.ones_like(trajectory.truncated),
  )
  states = tree_select(
    worlds,
    *(jax.tree.map(_worlds_first, x.states) for x in (still, trajectory)),
  )
  kept = tree_select(
    worlds, still._replace(states=None), trajectory._replace(states=None)
  )
  return kept._replace(states=jax.tree.map(_worlds_first, states))


def _worlds_first(x: Array) -> Array:
  """Swaps the step and the world, [C, E, ...] and [E, C, ...]."""
  return jnp.swapaxes(x, 0, 1)


def _check_steering(
  config: PracticeConfig, human: SimulatedHuman | None
) -> None:
  # The noise is known at the starts of chunks alone, and decides at once.
  if config.replay_stride != config.chunk_size:
    raise ValueError(
      'replay_stride must be chunk_size for an agent that steers the VLA, '
      f'{config.chunk_size}: {config.replay_stride}.'
    )
  if config.inference_delay:
    raise ValueError(
      'inference_delay must be 0 for an agent that steers the VLA: '
      f'{config.inference_delay}.'
    )
  # The noise of what a person does is not known.
  if human is not None:
    raise ValueError(
      'human.demo_steps and human.help_minutes must be 0 for an agent that '
      f'steers the VLA: {config.human.demo_steps}, {config.human.help_minutes}.'
    )


def check_finite(**arrays: Any) -> None:
  """Raises FloatingPointError that names the array with a NaN or infinity."""
  for name, tree in arrays.items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      if not np.isfinite(np.asarray(leaf)).all():
        leaf_name = name + jax.tree_util.keystr(path)
        raise FloatingPointError(f'Every number must be finite: {leaf_name}.')
