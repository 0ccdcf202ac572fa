"""E worlds of any task as a `gymnasium.vector.VectorEnv`, one call per step."""

from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
import jax
import numpy as np

from rlt_jax.envs import batched_task, gymnasium_env, spaces
from rlt_jax.tasks.task import Outcome, State, Task


class TaskVectorEnv(gymnasium.vector.VectorEnv):
  """E worlds of a task, stepped in one compiled call.

  World i after `reset(seed=s)` plays the episodes that a `TaskEnv` plays after
  `reset(seed=s + i)`. `info` holds what `TaskEnv`'s does, with a leading [E],
  and a mask '_<key>' for each key, as Gymnasium wants it.

  What follows the end of an episode is `metadata['autoreset_mode']`:

  * NEXT_STEP: the next step ignores the world's action and resets it, with
    reward 0.
  * SAME_STEP: the last step already returns the new episode's observation;
    the last one is in `info['final_obs']`, its info in `info['final_info']`.
  * DISABLED: the caller resets it, `reset(options={'reset_mask': ended})`.
  """

  def __init__(
    self,
    task: str | Task = 'ethernet',
    *,
    num_envs: int,
    task_config: Any = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
    **settings: Any,
  ):
    """Compiles nothing yet: the first reset and step do.

    Args:
      task: a name or 'module:function', or the task itself.
      num_envs: E.
      task_config: the named task's settings; None is their defaults.
      autoreset_mode: a mode or its value, such as 'SameStep'.
      render_mode: 'rgb_array' lets `render` return the first camera's images.
      **settings: fields of `batched_task.EnvSettings`.

    Raises:
      ValueError: a setting that does not exist or that this task lacks.
    """
    if num_envs < 1:
      raise ValueError(f'num_envs must be at least 1: {num_envs}.')
    self._batched = batched_task.make(
      task, task_config, batched_task.EnvSettings(**settings)
    )
    gymnasium_env.check_render_mode(self._batched.task, render_mode)
    self.num_envs, self.render_mode = num_envs, render_mode
    self.metadata = {
      'render_modes': ['rgb_array'],
      'render_fps': self._batched.task.spec.control_hz,
      'autoreset_mode': AutoresetMode(autoreset_mode),
    }
    self.single_action_space = spaces.action_space(self._batched)
    self.single_observation_space = spaces.observation_space(self._batched)
    self.action_space = batch_space(self.single_action_space, num_envs)
    self.observation_space = batch_space(
      self.single_observation_space, num_envs
    )
    self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
    self._state: State | None = None

  @property
  def task(self) -> Task:
    """The task."""
    return self._batched.task

  @property
  def state(self) -> State:
    """The worlds, State [E]; for measurements, not for policies."""
    if self._state is None:
      raise ValueError('reset() must come first: no episode has begun.')
    return self._state

  def reset(
    self,
    *,
    seed: int | Sequence[int | None] | None = None,
    options: dict[str, Any] | None = None,
  ) -> tuple[Any, dict[str, Any]]:
    """Starts an episode in every world, or in those of a mask.

    Args:
      seed: of world 0, world i gets `seed + i`; or one for each world, None
        where the world goes on with its own random numbers.
      options: 'reset_mask', bool [E], picks the worlds.

    Raises:
      ValueError: seed or mask do not fit, or a mask comes before any episode.
    """
    mask = self._reset_mask(options)
    for i, value in enumerate(self._seeds(seed)):
      if mask[i] and value is not None:
        self._rngs[i], _ = seeding.np_random(value)
    if mask.all():
      self._state = self._batched.reset(self._episode_seeds(mask))
    else:
      self._renew(mask)
    return self._observe(None), self._info(mask)

  def step(
    self, actions: np.ndarray
  ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Runs one control step of every world.

    Raises:
      ValueError: bad actions; or a world's episode is over, mode DISABLED.
    """
    actions = spaces.checked_action(actions, self.action_space.shape)
    mode = self.metadata['autoreset_mode']
    over = np.asarray(self.state.outcome) != Outcome.RUNNING
    if mode is AutoresetMode.DISABLED and over.any():
      raise ValueError(
        'reset() must come before step() for worlds whose episode is over: '
        f'{np.flatnonzero(over).tolist()}.'
      )
    result = self._batched.step(self.state, actions)
    self._state, numbers = result.state, result.numbers
    reward = np.asarray(result.reward, np.float64)
    if over.any():
      self._renew(over)
      numbers = None
    outcome = np.asarray(self._state.outcome)
    truncated = outcome == Outcome.TIME_OUT
    terminated = (outcome != Outcome.RUNNING) & ~truncated
    observation, info = self._observe(numbers), self._info()
    ended = terminated | truncated
    if mode is AutoresetMode.SAME_STEP and ended.any():
      final = {'final_obs': _rows(observation, ended), 'final_info': info}
      self._renew(ended)
      observation, info = self._observe(None), self._info()
      info.update(final, _final_obs=ended.copy(), _final_info=ended.copy())
    return observation, reward, terminated, truncated, info

  def render(self) -> tuple[np.ndarray, ...] | None:
    """Returns the first camera's image of every world, uint8 [S, S, 3]."""
    if self.render_mode is None:
      return None
    return tuple(gymnasium_env.render_worlds(self.task, self.state))

  def _seeds(
    self, seed: int | Sequence[int | None] | None
  ) -> Sequence[int | None]:
    if seed is None:
      return [None] * self.num_envs
    if isinstance(seed, int | np.integer):
      return [int(seed) + i for i in range(self.num_envs)]
    if len(seed) != self.num_envs:
      raise ValueError(
        f'seed must have an entry for each of the {self.num_envs} worlds: '
        f'{len(seed)}.'
      )
    return seed

  def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
    """Returns which worlds to reset, bool [E]."""
    mask = (options or {}).get('reset_mask')
    if mask is None:
      return np.ones(self.num_envs, bool)
    mask = np.asarray(mask)
    if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
      raise ValueError(
        f'reset_mask must be bool [{self.num_envs}] with a True: '
        f'{mask.dtype} {list(mask.shape)}, {mask.tolist()}.'
      )
    if not mask.all() and self._state is None:
      raise ValueError('reset_mask must be all True at the first reset().')
    return mask

  def _episode_seeds(self, mask: np.ndarray) -> np.ndarray:
    """Draws an episode's seed where the mask is True; 0 elsewhere."""
    return np.array([
        spaces.episode_seed(rng) if use else 0
        for rng, use in zip(self._rngs, mask, strict=True)
    ], np.uint32)  # fmt: skip

  def _renew(self, mask: np.ndarray):
    seeds = self._episode_seeds(mask)
    self._state = self._batched.renew(self.state, mask, seeds)

  def _observe(self, numbers: Any) -> Any:
    return jax.tree.map(np.array, self._batched.observe(self.state, numbers))

  def _info(self, mask: np.ndarray | None = None) -> dict[str, Any]:
    outcome = np.asarray(self.state.outcome)
    names = [batched_task.outcome_name(self.task, int(x)) for x in outcome]
    info = {
      'outcome': np.array(names, object),
      'is_success': outcome == Outcome.SUCCESS,
      'executed_command': np.array(self.state.command),
    }
    valid = np.ones(self.num_envs, bool) if mask is None else mask
    return {**info, **{f'_{key}': valid.copy() for key in info}}


def _rows(observation: Any, mask: np.ndarray) -> np.ndarray:
  """Returns an object array [E]: a world's observation, None without mask."""
  rows = np.full(len(mask), None, object)
  for i in np.flatnonzero(mask):
    rows[i] = jax.tree.map(lambda x: x[i].copy(), observation)  # noqa: B023
  return rows
