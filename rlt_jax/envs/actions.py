"""Normalized actions: what one control step does with numbers in [-1, 1].

Both kinds start from the measured pose, so zero always means "stay here", and
both leave the task's frozen entries (resting arm, closed gripper) alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import Array

KINDS = ('joints', 'tip')

# One unit at the tip. With every entry at 1 or -1 the command is still within
# the limit of the shipped task, so nothing is cut off.
TIP_UNIT_MM = 2.0
TIP_UNIT_DEG = 0.5
# One unit of a joint, of its largest reach: 3 mm at the tip in the shipped
# task. Uniform actions of the whole reach wander off by 15 cm in an episode.
_JOINT_UNIT = 0.5

_TWIST = ('x', 'y', 'z', 'about_x', 'about_y', 'about_z')


class Actions(NamedTuple):
  """A kind of action of a task with M entries.

  names: [M]. units: [M], what one unit is: rad or m for joints, m and then
    rad for the tip.
  command: (State of one world, action [M] in [-1, 1]) -> joint targets [A],
    rad and m. The task still limits them.
  """

  names: tuple[str, ...]
  units: np.ndarray
  command: Callable[[State, Array], Array]


def make(
  task: Task,
  kind: str,
  *,
  tip_unit_mm: float = TIP_UNIT_MM,
  tip_unit_deg: float = TIP_UNIT_DEG,
) -> Actions:
  """Returns a task's actions of one kind.

  Args:
    task: the task.
    kind: 'joints' or 'tip'.
    tip_unit_mm: translation of one unit along each axis, kind 'tip'.
    tip_unit_deg: rotation of one unit about each axis, kind 'tip'.

  Raises:
    ValueError: unknown kind, a unit that is not positive, or a task without a
      tip and kind 'tip'.
  """
  if kind == 'joints':
    return _joints(task)
  if kind == 'tip':
    return _tip(task, tip_unit_mm, tip_unit_deg)
  raise ValueError(f'actions must be one of {KINDS}: {kind!r}.')


def _joints(task: Task) -> Actions:
  """Targets of the moving joints, relative to the measured pose.

  One unit is half of the task's largest reach of that joint.
  """
  moving = np.array(task.spec.moving_action_dims)
  units = _JOINT_UNIT * np.asarray(task.spec.max_reach, np.float32)[moving]

  def command(state: State, action: Array) -> Array:
    measured = task.joint_positions(state)[moving]
    return state.command.at[moving].set(measured + action * units)

  names = tuple(task.spec.joint_names[i] for i in moving)
  return Actions(names, units, command)


def _tip(task: Task, unit_mm: float, unit_deg: float) -> Actions:
  """A twist of the tip in its own frame, relative to the measured pose."""
  if task.tip is None:
    raise ValueError(
      f"actions must be 'joints' for a task without a tip: {task.spec.name}."
    )
  for name, unit in (('tip_unit_mm', unit_mm), ('tip_unit_deg', unit_deg)):
    if not (np.isfinite(unit) and unit > 0):
      raise ValueError(f'{name} must be positive: {unit}.')
  moving = np.array(task.spec.moving_action_dims)
  units = np.float32([unit_mm * 1e-3] * 3 + [np.deg2rad(unit_deg)] * 3)

  @full_precision
  def command(state: State, action: Array) -> Array:
    position, matrix = task.tip.pose(state)
    twist = action * units
    joints = task.tip.solve(
      state,
      position + matrix @ twist[:3],
      matrix @ kinematics.rotation(twist[3:]),
    )
    return jnp.asarray(state.command).at[moving].set(joints[moving])

  return Actions(_TWIST, units, command)
