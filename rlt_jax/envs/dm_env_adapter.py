"""One world of the insertion task behind the `dm_env` interface.

For policies that are written step by step, outside JAX. Batches of worlds use
`tasks.task.Task` itself: a call of this class costs a dispatch per step.
"""

from collections.abc import Callable, Mapping
import functools
from typing import NamedTuple

import dm_env
from dm_env import specs
import jax
import numpy as np

from rlt_jax import tasks
from rlt_jax.sim import two_arm_bench as scene_lib
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.ethernet.task import CAMERAS, IMAGE_SIZE, INSERT
from rlt_jax.tasks.task import Outcome, State, Task

_SEEN_PREFIX = 'images/'


class _World(NamedTuple):
  """A task's compiled functions, one world each; render takes a batch."""

  task: Task
  reset: Callable
  step: Callable
  render: Callable


@functools.lru_cache(maxsize=8)
def _world(config: EthernetConfig) -> _World:
  """Builds a task's functions once, however many environments use it."""
  task = tasks.load('ethernet', config)
  return _World(
    task=task,
    reset=task.compile(task.reset),
    step=task.compile(task.step),
    render=task.render,
  )


class InsertionEnvironment(dm_env.Environment):
  """The insertion task; `step` after the end of an episode starts the next.

  Actions: float32 [A], absolute joint targets (rad, grippers m), or with a
  `space` one step of a chunk in its normalised units, begun at the measured
  pose. The task limits a target's distance from the measured pose; what was
  executed is `executed`.

  Observations: 'images/<camera>' uint8 [S, S, 3] unless `render` is off, and
  'proprio' float32 [P] (rad, m; per s).

  Reward is 1 at success, else 0. The discount is 0 after success or failure
  and 1 elsewhere, also at the time limit, which only truncates.
  """

  def __init__(
    self,
    task_config: EthernetConfig | None = None,
    *,
    seed: int,
    space: ActionSpace | None = None,
    render: bool = True,
    prompt: str = INSERT,
  ):
    """Compiles nothing yet: the first reset and step do.

    Args:
      task_config: the task; None is `ethernet-0.30mm`.
      seed: of every episode's draw; same seed, same episodes.
      space: None for joint targets.
      render: False leaves the images out.
      prompt: the instruction, for a policy that reads one.
    """
    self._world = _world(task_config or EthernetConfig())
    self._key = jax.random.PRNGKey(seed)
    self._space = space
    self._cameras = tuple(c.name for c in CAMERAS) if render else ()
    self._state: State | None = None
    self.prompt = prompt

  @property
  def state(self) -> State:
    """The world; for measurements, not for policies."""
    if self._state is None:
      raise ValueError('reset() must come before state: no episode has begun.')
    return self._state

  @property
  def executed(self) -> np.ndarray:
    """The executed joint targets [A] of the last step, rad and m."""
    return np.asarray(self.state.command)

  def reset(self) -> dm_env.TimeStep:
    """Starts an episode."""
    self._key, key = jax.random.split(self._key)
    self._state = self._world.reset(key)
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Runs one control step, 20 ms; ignores `action` where it must reset.

    Raises:
      ValueError: the action's shape is not [A], or an entry is not finite.
    """
    if self._state is None or self._outcome() != Outcome.RUNNING:
      return self.reset()
    self._state = self._world.step(self._state, self._command(action))
    reward, outcome = float(self._state.reward), self._outcome()
    if outcome == Outcome.RUNNING:
      return dm_env.transition(reward, self._observe())
    if outcome == Outcome.TIME_OUT:
      return dm_env.truncation(reward, self._observe())
    return dm_env.termination(reward, self._observe())

  def close(self):
    """Ends the episode; the next step starts another."""
    self._state = None

  def action_spec(self) -> specs.Array:
    """Returns float32 [A]; its name lists the joints in order."""
    shape, name = (scene_lib.ACTION_DIM,), ','.join(scene_lib.JOINTS)
    if self._space is not None:
      return specs.Array(shape, np.float32, name)
    return specs.BoundedArray(
      shape,
      np.float32,
      np.array(self._world.task.spec.joint_low, np.float32),
      np.array(self._world.task.spec.joint_high, np.float32),
      name,
    )

  def observation_spec(self) -> Mapping[str, specs.Array]:
    """Returns the cameras' and proprioception's shapes."""
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    names = [_SEEN_PREFIX + name for name in self._cameras]
    return {
      **{
        name: specs.BoundedArray(shape, np.uint8, 0, 255, name)
        for name in names
      },
      'proprio': specs.Array((scene_lib.PROPRIO_DIM,), np.float32, 'proprio'),
    }

  def reward_spec(self) -> specs.BoundedArray:
    """Returns a scalar, 0 or 1."""
    return specs.BoundedArray((), float, 0.0, 1.0, 'reward')

  def _outcome(self) -> int:
    return int(self._state.outcome)

  def _command(self, action: np.ndarray) -> np.ndarray:
    """Checks an action [A] and returns its joint targets [A]."""
    action = np.asarray(action, np.float32)
    if action.shape != (scene_lib.ACTION_DIM,):
      raise ValueError(
        f'action must have shape ({scene_lib.ACTION_DIM},): {action.shape}.'
      )
    bad = [
      f'{joint} is {value}'
      for joint, value in zip(scene_lib.JOINTS, action, strict=True)
      if not np.isfinite(value)
    ]
    if bad:
      raise ValueError(
        f'action must be finite: {", ".join(bad)} at step '
        f'{int(self._state.steps)}.'
      )
    if self._space is None:
      return action
    pose = self._world.task.joint_positions(self._state)
    return np.asarray(self._space.decode(action[None], pose)[0], np.float32)

  def _observe(self) -> dict[str, np.ndarray]:
    observation = {'proprio': np.asarray(self._world.task.proprio(self._state))}
    if self._cameras:
      images = self._world.render(jax.tree.map(lambda x: x[None], self._state))
      for name in self._cameras:
        observation[_SEEN_PREFIX + name] = np.asarray(images[name][0])
    return observation
