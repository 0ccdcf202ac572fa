"""Checks that a dataset's numbers are what its mapping says they are.

The ranges are those of a whole dataset, so that a joint that happens to rest in
one episode is judged by the others.
"""

from collections.abc import Sequence
import math
import re
from typing import NamedTuple

import numpy as np

from rlt_jax.datasets.mapping import JointMap, UNITS

# Largest size of a number, in units that are no range.
_LARGEST = {'rad': 4.0 * math.pi, 'deg': 720.0, 'm': 2.0, 'mm': 2000.0}
_SLACK = 0.05  # of a range, beyond its ends
# Unit -> (largest size, least span, what the numbers look like) where all
# joints in that unit stay so small that it is another.
_TOO_SMALL = {
  'deg': (2.0 * math.pi, 0.5, "radians: write 'rad'"),
  'mm': (0.5, 0.005, "meters: write 'm'"),
  'normalized': (
    math.pi, 0.5, "radians or -1 to 1: write 'rad' or 'signed_fraction'"
  ),
  'percent': (1.5, 0.5, "0 to 1: write 'fraction'"),
}  # fmt: skip
_VELOCITY = {'vel', 'velocity', 'velocities', 'speed', 'qvel', 'dq'}
_END_EFFECTOR = {
  'x', 'y', 'z', 'dx', 'dy', 'dz', 'rx', 'ry', 'rz', 'qx', 'qy', 'qz', 'qw',
  'delta', 'ee', 'eef', 'tcp', 'pose', 'quat', 'cartesian', 'effector',
}  # fmt: skip
_FOLLOWS = 0.5  # least correlation of commands with the measured joints
_SPREAD = 10.0  # largest ratio of their deviations
# rad or m; a joint that deviates less says nothing of its commands.
_MOVES = {'rad': 0.01, 'm': 0.001}


class Motions:
  """Ranges and agreement of state and action over all rows [A].

  low, high: of state and of action, [2, A], as recorded.
  """

  def __init__(self, joints: int):
    self.low = np.full((2, joints), np.inf)
    self.high = np.full((2, joints), -np.inf)
    self._count = 0
    self._sums = np.zeros((5, joints))  # s, a, ss, aa, sa

  def add(self, state: np.ndarray, action: np.ndarray) -> None:
    """Adds rows [T, A] of the mapped entries, as recorded."""
    both = np.stack([state, action]).astype(np.float64)
    self.low = np.minimum(self.low, both.min(axis=1))
    self.high = np.maximum(self.high, both.max(axis=1))
    s, a = both
    self._count += len(s)
    self._sums += np.stack([s, a, s * s, a * a, s * a]).sum(axis=1)

  def agreement(self) -> 'Agreement':
    """Returns how commands and measured joints belong together."""
    s, a, ss, aa, sa = self._sums / max(self._count, 1)
    state, action = (
      np.sqrt(np.maximum(x, 0.0)) for x in (ss - s * s, aa - a * a)
    )
    product = state * action
    safe = np.where(product > 0.0, product, 1.0)
    return Agreement(
      state, action, np.where(product > 0.0, (sa - s * a) / safe, 0.0)
    )


class Agreement(NamedTuple):
  """Deviations [A] of state and action, as recorded, and their correlation."""

  state: np.ndarray
  action: np.ndarray
  correlation: np.ndarray


def check_names(rows: Sequence[JointMap]) -> None:
  """Refuses actions that by their names are no joint positions.

  Raises:
    ValueError: velocities, or movements of the end effector.
  """
  for row in rows:
    name = row.action_entry
    words = set(re.split(r'[^a-z0-9]+', name.lower()))
    for kind, found in (
      ('a velocity', words & _VELOCITY),
      ('a movement or pose of the end effector', words & _END_EFFECTOR),
    ):
      if found:
        raise ValueError(
          f'The action of joint {row.joint!r} must be its target position: '
          f'{name!r} is named like {kind} ({sorted(found)[0]!r}). Map the '
          'column that has the targets of the joints; without one, this '
          'dataset does not fit.'
        )


def check_ranges(rows: Sequence[JointMap], motions: Motions) -> None:
  """Refuses numbers that cannot be in the unit that the mapping gives.

  Raises:
    ValueError: the first joint that does not fit: rule, values, what to write.
  """
  for i, row in enumerate(rows):
    for part, name in enumerate((row.state, row.action_entry)):
      low, high = motions.low[part, i], motions.high[part, i]
      least, most = _bounds(row.recorded)
      if low < least or high > most:
        raise ValueError(
          f'{("State", "Action")[part]} {name!r} of joint {row.joint!r}, '
          f'recorded in {row.recorded!r}, must be within {least:.4g} and '
          f'{most:.4g}: it goes from {low:.4g} to {high:.4g}.'
          f'{_instead(low, high)}'
        )
  for recorded, (size, span, looks) in _TOO_SMALL.items():
    where = [i for i, row in enumerate(rows) if row.recorded == recorded]
    if not where:
      continue
    low, high = motions.low[0, where], motions.high[0, where]
    largest = max(-low.min(), high.max())
    if largest <= size and (high - low).max() > span:
      raise ValueError(
        f'Joints recorded in {recorded!r} must somewhere be larger than '
        f'{size:.3g}: {[rows[i].joint for i in where]} stay within '
        f'{low.min():.4g} and {high.max():.4g}. They look like {looks}.'
      )


def check_agreement(rows: Sequence[JointMap], motions: Motions) -> None:
  """Refuses actions that do not move with the measured joints.

  Raises:
    ValueError: most joints do not follow their commands, or commands and
      measured positions of a joint have different units.
  """
  found = motions.agreement()
  moving = moving_joints(rows, found)
  if not moving.any():
    return
  median = float(np.median(found.correlation[moving]))
  if median < _FOLLOWS:
    names = [row.joint for row, x in zip(rows, moving, strict=True) if x]
    raise ValueError(
      'Actions must be target positions, which the joints follow: the '
      f'correlation of action and state is {median:.2f} in the middle of '
      f'{names}, and must be {_FOLLOWS} or more. Velocities, differences and '
      'movements of the end effector do not fit; if these are targets, check '
      'which number is which joint.'
    )
  for i in np.flatnonzero(moving & (found.action > 0.0)):
    ratio = found.action[i] / found.state[i]
    if not 1.0 / _SPREAD <= ratio <= _SPREAD:
      raise ValueError(
        f'State {rows[i].state!r} and action {rows[i].action_entry!r} of joint '
        f'{rows[i].joint!r} must be in one unit: their deviations are '
        f'{found.state[i]:.4g} and {found.action[i]:.4g}. Map entries that are '
        'recorded alike.'
      )


def moving_joints(rows: Sequence[JointMap], found: Agreement) -> np.ndarray:
  """Returns bool [A], which joints move enough to say something."""
  slopes = np.array([abs(row.line()[0]) for row in rows])
  least = np.array([_MOVES[row.robot_unit] for row in rows])
  return found.state * slopes > least


def _bounds(recorded: str) -> tuple[float, float]:
  if recorded in _LARGEST:
    return -_LARGEST[recorded], _LARGEST[recorded]
  unit = UNITS[recorded]
  slack = _SLACK * (unit.high - unit.low)
  return unit.low - slack, unit.high + slack


def _instead(low: float, high: float) -> str:
  """Returns which units the numbers could have."""
  fitting = [
    name
    for name in UNITS
    if _bounds(name)[0] <= low and high <= _bounds(name)[1]
  ]
  # Small numbers fit in every unit.
  fitting = [
    x for x in fitting if x not in ('m', 'mm', 'fraction', 'signed_fraction')
  ]
  if not fitting:
    return ' No unit fits: see which number this is.'
  return f' Write "recorded" as one of {fitting}, if it is that.'
