"""One world of any task behind the `dm_env` interface.

For policies that are written step by step, outside JAX. Batches of worlds use
`batched_task.BatchedTask`: a call of this class costs a dispatch per step.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import dm_env
from dm_env import specs
import jax
import numpy as np

from rlt_jax.envs import actions as actions_lib
from rlt_jax.envs import batched_task, diverged
from rlt_jax.envs.batched_task import IMAGE_PREFIX
from rlt_jax.tasks.task import Outcome, State, Task

ACTIONS = ('targets', *actions_lib.KINDS)


class _World(NamedTuple):
  """A task's compiled functions of one world.

  command: (State, action) -> joint targets [A]; names: those of the action.
  """

  task: Task
  reset: Callable
  step: Callable
  command: Callable
  names: tuple[str, ...]


@functools.lru_cache(maxsize=8)
def _physics(task: Task) -> tuple[Callable, Callable]:
  """Returns the compiled reset and step, which all kinds of actions share."""
  step = functools.partial(diverged.step, task)
  return task.compile(task.reset), task.compile(step)


@functools.lru_cache(maxsize=8)
def _world(task: Task, actions: str) -> _World:
  """Compiles a task's functions once, however many environments use it."""
  names, command = task.spec.joint_names, lambda state, action: action
  if actions != 'targets':
    action_fns = actions_lib.make(task, actions)
    names, command = action_fns.names, task.compile(action_fns.command)
  reset, step = _physics(task)
  return _World(task, reset, step, command, names)


class TaskEnvironment(dm_env.Environment):
  """One world of a task; `step` after the end of an episode starts the next.

  Actions: 'targets' are float32 [A], absolute joint targets (rad, grippers m);
  the task limits their distance from the measured pose. 'joints' and 'tip' are
  float32 [M] in [-1, 1], see `envs.actions`; values beyond are cut. What was
  executed is `executed`.

  Observations: 'images/<camera>' uint8 [S, S, 3] unless `render` is off, and
  'proprio' float32 [P] (rad, m; per s).

  Reward is 1 at success, else 0. The discount is 0 after success or failure
  and 1 elsewhere, also at the time limit, which only truncates.
  """

  def __init__(
    self,
    task: str | Task = 'ethernet',
    *,
    seed: int,
    task_config: Any = None,
    actions: str = 'targets',
    render: bool = True,
    prompt: str | None = None,
  ):
    """Compiles nothing yet: the first reset and step do.

    Args:
      task: a name or 'module:function', or the task itself.
      seed: of every episode's draw; same seed, same episodes.
      task_config: the named task's settings; None is their defaults.
      actions: one of ACTIONS.
      render: False leaves the images out.
      prompt: the instruction, for a policy that reads one; None is the task's.

    Raises:
      ValueError: no such task or actions.
    """
    if actions not in ACTIONS:
      raise ValueError(f'actions must be one of {ACTIONS}: {actions!r}.')
    self._world = _world(batched_task.load_task(task, task_config), actions)
    spec = self._world.task.spec
    self._normalized = actions != 'targets'
    self._key = jax.random.PRNGKey(seed)
    can_render = render and self._world.task.render is not None
    self._cameras = spec.cameras if can_render else ()
    self._state: State | None = None
    self.prompt = prompt or spec.instruction

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
    """Runs one control step; ignores `action` where it must reset.

    Raises:
      ValueError: the action has another shape than the spec, or an entry
        that is not finite.
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

  def action_spec(self) -> specs.BoundedArray:
    """Returns float32 [A] or [M]; its name lists the entries in order."""
    spec, names = self._world.task.spec, self._world.names
    low, high = -1.0, 1.0
    if not self._normalized:
      low, high = np.float32(spec.joint_low), np.float32(spec.joint_high)
    return specs.BoundedArray(
      (len(names),), np.float32, low, high, ','.join(names)
    )

  def observation_spec(self) -> Mapping[str, specs.Array]:
    """Returns the cameras' and proprioception's shapes."""
    spec = self._world.task.spec
    shape = (spec.image_size, spec.image_size, 3)
    names = [IMAGE_PREFIX + name for name in self._cameras]
    return {
      **{
        name: specs.BoundedArray(shape, np.uint8, 0, 255, name)
        for name in names
      },
      'proprio': specs.Array((spec.proprio_dim,), np.float32, 'proprio'),
    }

  def reward_spec(self) -> specs.BoundedArray:
    """Returns a scalar, 0 or 1."""
    return specs.BoundedArray((), float, 0.0, 1.0, 'reward')

  def _outcome(self) -> int:
    return int(self._state.outcome)

  def _command(self, action: np.ndarray) -> np.ndarray:
    """Checks an action and returns its joint targets [A]."""
    action, names = np.asarray(action, np.float32), self._world.names
    if action.shape != (len(names),):
      raise ValueError(
        f'action must have shape ({len(names)},): {action.shape}.'
      )
    bad = [
      f'{name} is {value}'
      for name, value in zip(names, action, strict=True)
      if not np.isfinite(value)
    ]
    if bad:
      raise ValueError(
        f'action must be finite: {", ".join(bad)} at step '
        f'{int(self._state.steps)}.'
      )
    if self._normalized:
      action = np.clip(action, -1.0, 1.0)
    return self._world.command(self._state, action)

  def _observe(self) -> dict[str, np.ndarray]:
    task = self._world.task
    observation = {'proprio': np.asarray(task.proprio(self._state))}
    if self._cameras:
      images = task.render(jax.tree.map(lambda x: x[None], self._state))
      for name in self._cameras:
        observation[IMAGE_PREFIX + name] = np.asarray(images[name][0])
    return observation
