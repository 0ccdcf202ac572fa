"""One world of any task as a `gymnasium.Env`; needs the extra `gym`."""

from typing import Any

import gymnasium
import jax
import numpy as np

from rlt_jax.envs import batched_task, spaces
from rlt_jax.tasks.task import Outcome, State, Task


class TaskEnv(gymnasium.Env):
  """One world of a task.

  Actions and observations: see `batched_task.EnvSettings`. `terminated` is
  success or failure, `truncated` the time limit. `info` holds 'outcome' (its
  name, 'running' before the end), 'is_success' and 'executed_command'
  (float32 [A], joint targets after the task's limits, rad and m).
  """

  metadata = {'render_modes': ['rgb_array']}

  def __init__(
    self,
    task: str | Task = 'ethernet',
    *,
    task_config: Any = None,
    render_mode: str | None = None,
    **settings: Any,
  ):
    """Compiles nothing yet: the first reset and step do.

    Args:
      task: a name or 'module:function', or the task itself.
      task_config: the named task's settings; None is their defaults.
      render_mode: 'rgb_array' lets `render` return the first camera's image.
      **settings: fields of `batched_task.EnvSettings`.

    Raises:
      ValueError: a setting that does not exist or that this task lacks.
    """
    self._batched = batched_task.make(
      task, task_config, batched_task.EnvSettings(**settings)
    )
    check_render_mode(self._batched.task, render_mode)
    self.render_mode = render_mode
    self.metadata = {
      **self.metadata, 'render_fps': self._batched.task.spec.control_hz
    }  # fmt: skip
    self.action_space = spaces.action_space(self._batched)
    self.observation_space = spaces.observation_space(self._batched)
    self._state: State | None = None

  @property
  def task(self) -> Task:
    """The task."""
    return self._batched.task

  @property
  def state(self) -> State:
    """The world; for measurements, not for policies."""
    return jax.tree.map(lambda x: x[0], self._started())

  def reset(
    self, *, seed: int | None = None, options: dict[str, Any] | None = None
  ) -> tuple[Any, dict[str, Any]]:
    """Starts an episode; `options` are ignored."""
    super().reset(seed=seed)
    episode = spaces.episode_seed(self.np_random)
    self._state = self._batched.reset(np.array([episode]))
    return self._observe(None), self._info()

  def step(
    self, action: np.ndarray
  ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Runs one control step.

    Raises:
      ValueError: a bad action, or the episode has ended.
    """
    state = self._started()
    if int(state.outcome[0]) != Outcome.RUNNING:
      raise ValueError('reset() must come before step(): the episode is over.')
    action = spaces.checked_action(action, self.action_space.shape)
    result = self._batched.step(state, action[None])
    self._state = result.state
    outcome = int(self._state.outcome[0])
    truncated = outcome == Outcome.TIME_OUT
    terminated = outcome != Outcome.RUNNING and not truncated
    observation = self._observe(result.numbers)
    reward = float(result.reward[0])
    return observation, reward, terminated, truncated, self._info()

  def render(self) -> np.ndarray | None:
    """Returns the first camera's image, uint8 [S, S, 3]."""
    if self.render_mode is None:
      return None
    return render_worlds(self.task, self._started())[0]

  def _started(self) -> State:
    if self._state is None:
      raise ValueError('reset() must come first: no episode has begun.')
    return self._state

  def _observe(self, numbers: Any) -> Any:
    seen = self._batched.observe(self._state, numbers)
    return jax.tree.map(lambda x: np.array(x[0]), seen)

  def _info(self) -> dict[str, Any]:
    outcome = int(self._state.outcome[0])
    return {
      'outcome': batched_task.outcome_name(self.task, outcome),
      'is_success': outcome == Outcome.SUCCESS,
      'executed_command': np.array(self._state.command[0]),
    }


def check_render_mode(task: Task, render_mode: str | None):
  """Raises ValueError for a mode that the task can't serve."""
  if render_mode not in (None, 'rgb_array'):
    raise ValueError(
      f"render_mode must be None or 'rgb_array': {render_mode!r}."
    )
  if render_mode is not None and task.render is None:
    raise ValueError(
      f'render_mode must be None for a task without cameras: {task.spec.name}.'
    )


def render_worlds(task: Task, state: State) -> np.ndarray:
  """Returns the first camera's images of E worlds, uint8 [E, S, S, 3]."""
  return np.array(task.render(state)[task.spec.cameras[0]])
