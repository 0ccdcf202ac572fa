"""Any task as compiled functions of E worlds, for learners of all kinds.

What the Gymnasium environments are made of, and of use without them: the
state is an argument and a result, so a loop of one's own may keep, copy or
mix worlds as it likes.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import tasks
from rlt_jax.batching import tree_select
from rlt_jax.envs import actions as actions_lib
from rlt_jax.envs import diverged
from rlt_jax.envs import rewards as rewards_lib
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.task import Outcome, State, Task
from rlt_jax.types import Array

OBSERVATIONS = ('pixels', 'proprio', 'true_pose')
IMAGE_PREFIX = 'images/'
FLAT = 'flat'  # the one vector of `flat_observation`


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvSettings:
  """Observations, actions and reward of the environments.

  actions: 'joints' or 'tip', see `envs.actions`.
  observations: any of OBSERVATIONS. 'true_pose' is privileged: for
    ablations, and for learners that start from the state.
  flat_observation: one float32 vector, proprio before true pose, in place of
    a dictionary; without pixels.
  reward: 'sparse' or 'shaped', see `envs.rewards`.
  shaping_discount: the learner's discount of one step, for 'shaped'.
  tip_unit_mm, tip_unit_deg: what 1 means for 'tip' actions.
  """

  actions: str = 'joints'
  observations: tuple[str, ...] = ('proprio',)
  flat_observation: bool = False
  reward: str = 'sparse'
  shaping_discount: float = rewards_lib.SHAPING_DISCOUNT
  tip_unit_mm: float = actions_lib.TIP_UNIT_MM
  tip_unit_deg: float = actions_lib.TIP_UNIT_DEG

  def __post_init__(self):
    # A list has no hash, and compiled functions are cached by these settings.
    object.__setattr__(self, 'observations', tuple(self.observations))
    names = self.observations
    if not names or set(names) - set(OBSERVATIONS):
      raise ValueError(f'observations must be some of {OBSERVATIONS}: {names}.')
    if self.flat_observation and 'pixels' in names:
      raise ValueError(
        f'flat_observation must be False with pixels: observations {names}.'
      )


class StepResult(NamedTuple):
  """One control step of E worlds.

  state: State [E]. reward: [E], 0 where the episode had ended before.
  numbers: observation name -> [E, ...] without the images, of `state`.
  """

  state: State
  reward: Array
  numbers: Mapping[str, Array]


class BatchedTask:
  """A task's compiled functions; holds no episode.

  task, settings: it was built from them. actions: see `actions.Actions`.
  """

  def __init__(self, task: Task, settings: EnvSettings):
    """Compiles nothing yet: the first call with a new E does.

    Raises:
      ValueError: the task lacks something that the settings need.
    """
    self.task, self.settings = task, settings
    self.actions = actions_lib.make(
      task,
      settings.actions,
      tip_unit_mm=settings.tip_unit_mm,
      tip_unit_deg=settings.tip_unit_deg,
    )
    for name, missing in (
      ('pixels', task.render is None),
      ('true_pose', task.true_pose is None),
    ):
      if name in settings.observations and missing:
        raise ValueError(
          f'observations must not hold {name!r}: {task.spec.name} has none.'
        )
    reward = rewards_lib.make(
      task, settings.reward, discount=settings.shaping_discount
    )
    self._reset = task.compile(over_worlds(self._reset_one))
    self._step = task.compile(
      over_worlds(functools.partial(self._step_one, reward=reward))
    )
    self._numbers = task.compile(over_worlds(self._numbers_of_one))
    self._renew = jax.jit(tree_select)

  @property
  def numbers_dims(self) -> dict[str, int]:
    """The length of each observation of one world but the images."""

    def numbers(seed: Array) -> dict[str, Array]:
      return self._numbers_of_one(self._reset_one(seed))

    shapes = jax.eval_shape(numbers, jax.ShapeDtypeStruct((), jnp.uint32))
    return {name: leaf.shape[0] for name, leaf in shapes.items()}

  def reset(self, seeds: np.ndarray) -> State:
    """Returns E worlds, each at the start of an episode.

    Args:
      seeds: uint32 [E]; the same seed is the same episode.
    """
    return self._reset(jnp.asarray(seeds, jnp.uint32))

  def step(self, state: State, action: Array) -> StepResult:
    """Runs one control step; ended worlds stay as they are.

    A world that diverges has failed, and shows its last finite state.

    Args:
      state: State [E].
      action: float32 [E, M], cut to [-1, 1].
    """
    return StepResult(*self._step(state, jnp.asarray(action, jnp.float32)))

  def observe(
    self, state: State, numbers: Mapping[str, Array] | None = None
  ) -> Array | dict[str, Array]:
    """Returns the observations of E worlds.

    Args:
      state: State [E].
      numbers: those of `StepResult`, if they are known.

    Returns:
      'images/<camera>' uint8 [E, S, S, 3], 'proprio' float32 [E, P] (rad, m;
      per s) and 'true_pose' float32 [E, K], as the settings name them; with
      `flat_observation` one array [E, ...].
    """
    seen = dict(self._numbers(state) if numbers is None else numbers)
    if self.settings.flat_observation:
      return seen[FLAT]
    if 'pixels' in self.settings.observations:
      for name, image in self.task.render(state).items():
        seen[IMAGE_PREFIX + name] = image
    return seen

  def renew(self, state: State, ended: np.ndarray, seeds: np.ndarray) -> State:
    """Returns the worlds, those in `ended` at the start of a new episode.

    Args:
      state: State [E].
      ended: bool [E].
      seeds: uint32 [E], those where `ended` are used.
    """
    return self._renew(jnp.asarray(ended), self.reset(seeds), state)

  def _reset_one(self, seed: Array) -> State:
    return self.task.reset(jax.random.PRNGKey(seed))

  def _step_one(
    self, state: State, action: Array, *, reward: rewards_lib.Reward
  ) -> tuple[State, Array, dict[str, Array]]:
    command = self.actions.command(state, jnp.clip(action, -1.0, 1.0))
    after = diverged.step(self.task, state, command)
    running = state.outcome == Outcome.RUNNING
    value = jnp.where(running, reward(state, after), 0.0)
    return after, value, self._numbers_of_one(after)

  def _numbers_of_one(self, state: State) -> dict[str, Array]:
    functions = {'proprio': self.task.proprio, 'true_pose': self.task.true_pose}
    found = {
      name: function(state).astype(jnp.float32)
      for name, function in functions.items()
      if name in self.settings.observations
    }
    if self.settings.flat_observation:
      return {FLAT: jnp.concatenate(list(found.values()))}
    return found


def make(
  task: str | Task, config: Any = None, settings: EnvSettings | None = None
) -> BatchedTask:
  """Returns a task's compiled functions, shared by equal tasks and settings.

  Args:
    task: a name or 'module:function', see `tasks.load`, or the task itself.
    config: the named task's settings; None is their defaults.
    settings: None is `EnvSettings()`.

  Raises:
    ValueError: see `tasks.load` and `BatchedTask`; or a config for a task that
      is already built.
  """
  return _build(load_task(task, config), settings or EnvSettings())


def load_task(task: str | Task, config: Any = None) -> Task:
  """Returns the task of a name and config, built once; see `make`."""
  if not isinstance(task, Task):
    return _load(task, config)
  if config is not None:
    raise ValueError(
      f'config must be None for a task that is already built: {config}.'
    )
  return task


@functools.lru_cache(maxsize=8)
def _load(name: str, config: Any) -> Task:
  return tasks.load(name, config)


@functools.lru_cache(maxsize=8)
def _build(task: Task, settings: EnvSettings) -> BatchedTask:
  return BatchedTask(task, settings)


def outcome_name(task: Task, code: int) -> str:
  """Returns 'running', or how an episode ended, as `spec.outcomes` says."""
  return 'running' if code == Outcome.RUNNING else task.spec.outcomes[code]
