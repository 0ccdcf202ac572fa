"""The interface between a task and all other code.

It imports NumPy only, so that a task's spec can be read without a simulator.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Any, ClassVar, Protocol

import numpy as np

from rlt_jax.types import Array, Outcome, PRNGKey

__all__ = [
  'Bench',
  'Outcome',
  'ScriptedExpert',
  'State',
  'Task',
  'TaskConfig',
  'TaskSpec',
  'Tip',
  'numbers',
  'with_fields',
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
  """The settings that every task has; a task's own class adds to them."""

  control_hz: ClassVar[float] = 50.0  # control steps per second
  # Settings of practice that suit the task better than the common defaults, as
  # --set takes them, which changes them in turn. Those of the agent, 'agent.x',
  # are for the default agent only.
  practice_settings: ClassVar[tuple[str, ...]] = ()
  time_limit: int = 500  # control steps of an episode

  def __post_init__(self):
    if self.time_limit < 1:
      raise ValueError(f'time_limit must be at least 1: {self.time_limit}.')


class State(Protocol):
  """One world between control steps: a pytree with at least these leaves.

  command: [A] the joint targets that the last step executed, rad and m.
  steps: int32 [] control steps of the episode so far.
  outcome: int32 [], see `Outcome`. reward: [] of the last step.
  """

  command: Array
  steps: Array
  outcome: Array
  reward: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
  """Names, sizes, limits and instructions of a task.

  name: with the level of difficulty, for reports. control_hz: steps per second.
  time_limit: control steps. joint_names, joint_units ('rad' or 'm'),
    joint_low, joint_high: [A], in the order of every action.
  max_reach: [A] largest distance of a command from the measured pose.
  frozen_action_dims: action entries that are always 0, as of a resting arm.
  proprio_names: [P]. proprio_has_joints: whether the first A of them are the
    joints' measured positions, which a VLA with absolute actions needs.
  cameras, image_size: names, and the side S of their square images in pixels.
  instruction: the VLA's prompt. phrasings: the same in other words, for
    demonstrations. other_instructions: prompts with another meaning that the
    VLA knows in this scene, for demonstrations and to test a wrong prompt.
    outcomes: names by code, 'time_out' and 'success' first.
  """

  name: str
  control_hz: float
  time_limit: int
  joint_names: tuple[str, ...]
  joint_units: tuple[str, ...]
  joint_low: tuple[float, ...]
  joint_high: tuple[float, ...]
  max_reach: tuple[float, ...]
  proprio_names: tuple[str, ...]
  cameras: tuple[str, ...]
  image_size: int
  instruction: str
  phrasings: tuple[str, ...] = ()
  other_instructions: tuple[str, ...] = ()
  outcomes: tuple[str, ...] = ('time_out', 'success')
  frozen_action_dims: tuple[int, ...] = ()
  proprio_has_joints: bool = True

  def __post_init__(self):
    action_dim = self.action_dim
    for name in ('joint_units', 'joint_low', 'joint_high', 'max_reach'):
      if len(getattr(self, name)) != action_dim:
        raise ValueError(
          f'{name} must have an entry for each of the {action_dim} joints: '
          f'{len(getattr(self, name))}.'
        )
    if not set(self.joint_units) <= {'rad', 'm'}:
      raise ValueError(f"joint_units must be 'rad' or 'm': {self.joint_units}.")
    if self.proprio_has_joints and len(self.proprio_names) < action_dim:
      raise ValueError(
        f'proprio_names must begin with the {action_dim} joint positions: '
        f'{len(self.proprio_names)} names.'
      )
    if self.outcomes[:2] != ('time_out', 'success'):
      raise ValueError(
        f"outcomes must begin with 'time_out', 'success': {self.outcomes}."
      )
    if not all(0 <= i < action_dim for i in self.frozen_action_dims):
      raise ValueError(
        f'frozen_action_dims must lie in [0, {action_dim}): '
        f'{self.frozen_action_dims}.'
      )
    for name in ('cameras', 'joint_names', 'proprio_names'):
      if len(set(getattr(self, name))) != len(getattr(self, name)):
        raise ValueError(f'{name} must be distinct: {getattr(self, name)}.')
    prompts = self.instruction, *self.phrasings, *self.other_instructions
    if not all(text.strip() for text in prompts):
      raise ValueError(f'Instructions must not be empty: {prompts}.')
    if len(set(prompts)) != len(prompts):
      raise ValueError(f'Instructions must be distinct: {prompts}.')
    if not (math.isfinite(self.control_hz) and self.control_hz > 0):
      raise ValueError(f'control_hz must be positive: {self.control_hz}.')

  @property
  def action_dim(self) -> int:
    """A, the number of action entries."""
    return len(self.joint_names)

  @property
  def proprio_dim(self) -> int:
    """P, the number of proprioception entries."""
    return len(self.proprio_names)

  @property
  def moving_action_dims(self) -> tuple[int, ...]:
    """The action entries that are not frozen."""
    frozen = set(self.frozen_action_dims)
    return tuple(i for i in range(self.action_dim) if i not in frozen)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScriptedExpert:
  """A scripted teleoperator of one world; both functions consume their key.

  begin: (key, State, instruction int32 []) -> memory, a pytree. instruction
    0 is `TaskSpec.instruction`, i is `other_instructions[i - 1]`.
  act: (key, memory, State) -> (memory, command [A] joint targets, rad and m).
  """

  begin: Callable[[PRNGKey, State, Array], Any]
  act: Callable[[PRNGKey, Any, State], tuple[Any, Array]]


class Bench(Protocol):
  """A task's scene under C MuJoCo, stepped one by one; not thread-safe.

  timestep: s, of the physics.
  """

  timestep: float

  def place(self, state: State) -> None:
    """Continues from a state of one world between two control steps."""

  def stand(self, joints: np.ndarray) -> None:
    """Starts an episode with the arms at rest at joints [A], rad and m."""

  def step(self) -> None:
    """Runs one physics step; judges the episode every control period."""

  def positions(self) -> np.ndarray:
    """Returns the measured joints float64 [A], rad and m."""

  def velocities(self) -> np.ndarray:
    """Returns the joints' velocities float64 [A], per s."""

  def set_targets(self, joints: np.ndarray) -> np.ndarray:
    """Sets the joints' targets [A] within the task's limit; returns them."""

  def stay(self) -> None:
    """Sets the measured joints as the targets."""

  def power(self, on: bool) -> None:
    """Switches the motors on or off."""

  def outcome(self) -> int:
    """Returns the episode's `Outcome` so far."""

  def success(self) -> bool:
    """Returns whether the goal is reached now, by poses alone."""

  def overlap(self) -> float:
    """Returns how deep any two bodies in contact overlap now, m, at least 0."""

  def world(self) -> State:
    """Returns the state with a leading [1], as `Task.render` takes it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tip:
  """Functions of the tool's tip of one world.

  pose: State -> position [3] m and matrix [3, 3], world.
  solve: (State, position [3], matrix [3, 3]) -> joint targets [A], rad and m,
    that move the tip there, for motions of a few millimeters.
  remaining_motion: (measured pose [A], final pose [A]) -> [6], how the tip
    moves between them, in its own frame: m, then rotation vector, rad.
  """

  pose: Callable[[State], tuple[Array, Array]]
  solve: Callable[[State, Array, Array], Array]
  remaining_motion: Callable[[Array, Array], Array]


def _jit(function: Callable, **kwargs: Any) -> Callable:
  import jax

  return jax.jit(function, **kwargs)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
  """A task: pure functions of one world, with its config and spec.

  config, spec: see `TaskConfig` and `TaskSpec`.
  reset: key -> State, the start of an episode; the key is consumed.
  step: (State, command [A]) -> State, one control step. An ended world stays
    as it is, with reward 0.
  joint_positions: State, leaves [..., x] -> measured pose [..., A], rad, m.
  joint_rates: State -> measured rates [..., A] of the joints, per s; None for a
    task without, which a VLA whose state is the joints can not do.
  proprio: State, leaves [..., x] -> [..., P], as `spec.proprio_names`.
  render: State [B] -> camera name -> uint8 [B, S, S, 3]; already compiled, not
    to be called under jit. None for a task without cameras.
  view: State [B] -> uint8 [B, F, F, 3], a large picture for films; None for
    films of what the policy sees alone.
  compile: jits a function that contains `step`, `reset` or other functions of
    the simulator, which may need special compiler options.
  true_pose: State -> [K], privileged: position, m, and rotation vector, rad, of
    the tool relative to its goal. For ablations and other learners.
  goal_pose: [K], the true pose of a world that has reached its goal; None
    leaves a task without shaped reward.
  tip: see `Tip`; None where there is no such point.
  make_expert: (config or None) -> `ScriptedExpert`; None without one. Annotate
    its parameter `config` with a frozen dataclass of the expert's settings.
  make_bench: () -> the same scene under C MuJoCo, see `Bench`; None without.
  """

  config: Any
  spec: TaskSpec
  reset: Callable[[PRNGKey], State]
  step: Callable[[State, Array], State]
  joint_positions: Callable[[State], Array]
  proprio: Callable[[State], Array]
  joint_rates: Callable[[State], Array] | None = None
  render: Callable[[State], Mapping[str, Array]] | None = None
  view: Callable[[State], Array] | None = None
  compile: Callable[..., Callable] = _jit
  true_pose: Callable[[State], Array] | None = None
  goal_pose: tuple[float, ...] | None = None
  tip: Tip | None = None
  make_expert: Callable[[Any], ScriptedExpert] | None = None
  make_bench: Callable[[], Bench] | None = None


def numbers(values: np.ndarray) -> tuple[float, ...]:
  """Returns an array's entries as a tuple of floats, for a `TaskSpec`."""
  return tuple(float(x) for x in np.asarray(values).ravel())


def with_fields(state: State, **fields: Any) -> State:
  """Returns a state, a dataclass or a named tuple, with other fields."""
  if hasattr(state, '_replace'):
    return state._replace(**fields)
  return dataclasses.replace(state, **fields)
