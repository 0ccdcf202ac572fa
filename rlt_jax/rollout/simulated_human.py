"""A simulated person who demonstrates, takes over and hands back.

The person is the task's scripted operator, with its reaction time, speed limits
and errors. Each time they take over they aim anew.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.batching import tree_select
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.chunk_rollout import RolloutFns, Trajectory
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import Array, PRNGKey

_METERS_PER_RADIAN = 0.02


@chex.dataclass(frozen=True)
class HumanState:
  """What a person knows of E environments; leaves lead with [E] but the last.

  memory: of the scripted operator. driving: bool, the person drives. demo:
  bool, they drive the episode to its end. nearest: m, the least distance to the
  goal. stalled: int32, control steps since that was much smaller. taken_at: m,
  the distance where they took over. demo_steps, help_steps: int32 [], control
  steps that they have driven. key: consumed and replaced by every chunk.
  """

  memory: Any
  driving: Array
  demo: Array
  nearest: Array
  stalled: Array
  taken_at: Array
  demo_steps: Array
  help_steps: Array
  key: PRNGKey


class SimulatedHuman:
  """Watches environments chunk by chunk; holds compiled functions only."""

  def __init__(
    self,
    task: Task,
    rollout: RolloutFns,
    config: HumanConfig,
    chunk_size: int,
  ):
    """Compiles nothing.

    Args:
      task: with an operator and a goal.
      rollout: of the task, for chunks in which nobody helps.
      config: of the person.
      chunk_size: C, control steps between two decisions of the person.

    Raises:
      ValueError: a task without an operator or without a goal.
    """
    missing = [
      name
      for name in ('make_expert', 'true_pose', 'goal_pose')
      if getattr(task, name) is None
    ]
    if missing:
      raise ValueError(
        'A simulated person needs a task with make_expert, true_pose and '
        f'goal_pose: {task.spec.name} lacks {missing}.'
      )
    self._config, self._rollout = config, rollout
    self._chunk_size = chunk_size
    self._hz = task.spec.control_hz
    expert, goal = task.make_expert(None), jnp.asarray(task.goal_pose)
    weight = jnp.where(jnp.arange(len(goal)) < 3, 1.0, _METERS_PER_RADIAN)

    def begin(key: PRNGKey, state: State) -> Any:
      keys = jax.random.split(key, len(state.steps))
      own = jnp.zeros(len(state.steps), jnp.int32)
      return jax.vmap(expert.begin)(keys, state, own)

    def distance(state: State) -> Array:
      pose = jax.vmap(task.true_pose)(state)
      return jnp.linalg.norm((pose - goal) * weight, axis=-1)

    def chunk(
      state: State, commands: Array, driving: Array, memory: Any, key: PRNGKey
    ) -> tuple[Trajectory, Any]:
      def act(memory, state, command_and_key):
        command, key = command_and_key
        keys = jax.random.split(key, len(driving))
        memory, own = jax.vmap(expert.act)(keys, memory, state)
        return memory, jnp.where(driving[:, None], own, command)

      keys = jax.random.split(key, commands.shape[1])
      steps = jnp.swapaxes(commands, 0, 1), keys
      return chunk_rollout.roll(task, state, act, memory, steps)

    self._begin = task.compile(begin)
    self._distance = task.compile(distance)
    self._chunk = task.compile(chunk)

  def init(self, env_states: State, key: PRNGKey) -> HumanState:
    """Returns the state before any chunk; the key is consumed.

    Args:
      env_states: [E] new episodes.
      key: consumed.
    """
    begin_key, act_key, key = jax.random.split(key, 3)
    num = len(env_states.steps)
    memory = self._begin(begin_key, env_states)
    # Compiles the rounds in which they help, which cannot be given up then.
    commands = np.repeat(
      np.asarray(env_states.command)[:, None], self._chunk_size, axis=1
    )
    self._chunk(env_states, commands, np.ones(num, bool), memory, act_key)
    return HumanState(
      memory=memory,
      driving=np.zeros(num, bool),
      demo=np.zeros(num, bool),
      nearest=np.zeros(num, np.float32),
      stalled=np.zeros(num, np.int32),
      taken_at=np.zeros(num, np.float32),
      demo_steps=np.int32(0),
      help_steps=np.int32(0),
      key=key,
    )

  def chunk(
    self, human: HumanState, env_states: State, commands: Array
  ) -> tuple[Trajectory, HumanState]:
    """Executes a chunk; the person may drive in some of the environments.

    Args:
      human: before it; afterwards `driving` tells where they drove.
      env_states: [E] running.
      commands: [E, C, A] what is executed elsewhere, rad and m.
    """
    begin_key, act_key, key = jax.random.split(human.key, 3)
    human, begins = self.decide(human, env_states)
    memory, driving = human.memory, human.driving
    if begins.any():
      memory = tree_select(begins, self._begin(begin_key, env_states), memory)
    if driving.any():
      trajectory, memory = self._chunk(
        env_states, commands, driving, memory, act_key
      )
    else:
      trajectory = self._rollout.chunk(env_states, commands)
    driven = np.asarray(trajectory.valid).sum(axis=1)
    human = human.replace(
      memory=memory,
      demo_steps=human.demo_steps + np.int32(driven[human.demo].sum()),
      help_steps=human.help_steps
      + np.int32(driven[driving & ~human.demo].sum()),
      key=key,
    )
    return trajectory, human

  def decide(
    self, human: HumanState, env_states: State
  ) -> tuple[HumanState, np.ndarray]:
    """Decides where the person drives the next chunk.

    Args:
      human: before it.
      env_states: [E] running.

    Returns:
      Who drives, and bool [E], True where the person begins to.
    """
    config = self._config
    distance = np.asarray(self._distance(env_states))
    fresh = np.asarray(env_states.steps) == 0
    demo = np.where(fresh, human.demo_steps < config.demo_steps, human.demo)
    before = human.driving & ~fresh
    nearer = distance < human.nearest - config.progress_mm * 1e-3
    moves = fresh | nearer
    stalled = np.where(moves, 0, human.stalled + self._chunk_size)
    helps = human.help_steps < config.help_minutes * 60 * self._hz
    far = distance > human.taken_at - config.hand_back_mm * 1e-3
    stays = before & ~demo & helps & far
    takes = ~before & ~demo & helps & (stalled >= config.stall_s * self._hz)
    driving = demo | stays | takes
    return human.replace(
      driving=driving,
      demo=demo,
      nearest=np.where(moves, distance, human.nearest).astype(np.float32),
      # They give it as long again after they have handed back.
      stalled=np.where(driving, 0, stalled).astype(np.int32),
      taken_at=np.where(takes, distance, human.taken_at).astype(np.float32),
    ), driving & ~before
