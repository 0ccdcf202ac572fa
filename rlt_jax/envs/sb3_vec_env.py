"""A `TaskVectorEnv` as Stable-Baselines3's VecEnv; needs the extra `sb3`."""

from collections.abc import Sequence
from typing import Any, TYPE_CHECKING

from gymnasium.vector import AutoresetMode
import numpy as np

from rlt_jax.envs.gymnasium_vector_env import TaskVectorEnv

if TYPE_CHECKING:
  from stable_baselines3.common.vec_env import VecEnv


def make(env: TaskVectorEnv) -> 'VecEnv':
  """Returns what `stable_baselines3` trains on: all worlds in one call.

  Args:
    env: with `autoreset_mode='SameStep'`, the only one that SB3 knows.

  Raises:
    ImportError: the extra is not installed.
    ValueError: another autoreset mode.
  """
  # Here, so that the package can be imported without PyTorch.
  from stable_baselines3.common.vec_env import VecEnv

  mode = env.metadata['autoreset_mode']
  if mode is not AutoresetMode.SAME_STEP:
    raise ValueError(f'autoreset_mode must be SAME_STEP: {mode.name}.')
  return type('Sb3VecEnv', (_TaskMethods, VecEnv), {})(env)


class _TaskMethods:
  """The methods that SB3's VecEnv leaves open."""

  def __init__(self, env: TaskVectorEnv):
    # VecEnv asks for the attribute while it is built.
    self.env, self._actions = env, None
    super().__init__(
      env.num_envs, env.single_observation_space, env.single_action_space
    )

  def reset(self) -> Any:
    """Starts an episode in every world, with the seed of `seed()` if any."""
    seeds = self._seeds if any(s is not None for s in self._seeds) else None
    observation, info = self.env.reset(seed=seeds)
    self.reset_infos = [_row(info, i) for i in range(self.num_envs)]
    self._reset_seeds()
    self._reset_options()
    return observation

  def step_async(self, actions: np.ndarray):
    """Keeps the actions for `step_wait`."""
    self._actions = actions

  def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict]]:
    """Runs one control step; ended worlds show their next episode."""
    observation, reward, terminated, truncated, info = self.env.step(
      self._actions
    )
    done = terminated | truncated
    infos = [_row(info, i) for i in range(self.num_envs)]
    for i in np.flatnonzero(done):
      infos[i] = _row(info['final_info'], i)
      infos[i]['terminal_observation'] = info['final_obs'][i]
      infos[i]['TimeLimit.truncated'] = bool(truncated[i])
    return observation, reward.astype(np.float32), done, infos

  def close(self):
    """Closes the worlds."""
    self.env.close()

  def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
    """Returns the shared attribute, once for each world."""
    value = getattr(self.env, attr_name)
    return [value for _ in self._get_indices(indices)]

  def set_attr(self, attr_name: str, value: Any, indices: Any = None):
    """Worlds share all attributes: sets it for all of them."""
    setattr(self.env, attr_name, value)

  def env_method(
    self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
  ) -> list[Any]:
    """Refused: there is no object of one world to call."""
    raise NotImplementedError(
      f'env_method must not be used, worlds share one object: {method_name}.'
    )

  def env_is_wrapped(
    self, wrapper_class: type, indices: Any = None
  ) -> list[bool]:
    """Returns False for each world: wrap the whole with a VecEnvWrapper."""
    return [False for _ in self._get_indices(indices)]

  def get_images(self) -> Sequence[np.ndarray | None]:
    """Returns the first camera's images if the mode is 'rgb_array'."""
    return self.env.render() or [None] * self.num_envs


def _row(info: dict[str, Any], i: int) -> dict[str, Any]:
  """Returns one world's info of a batch, without the masks."""
  return {
    key: value[i]
    for key, value in info.items()
    if not key.startswith(('_', 'final_'))
  }
