"""Proprioception by name: what a VLA gets, and what a bundle's actor feels.

A bundle lists its entries as `<joint>.<part>`. Any order and any choice of the
parts below will do; the VLA always gets the positions, then the velocities.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Measured position, its rate, and the following error: the last command less
# the measured position, which tells what presses from what hovers.
PARTS = ('pos', 'vel', 'err')


class Felt(NamedTuple):
  """vla: float32 [2 * A]. actor: float32 [P], in the bundle's order."""

  vla: np.ndarray
  actor: np.ndarray


def names(joints: Sequence[str], parts: Sequence[str]) -> tuple[str, ...]:
  """Returns `<joint>.<part>`, part by part."""
  return tuple(f'{joint}.{part}' for part in parts for joint in joints)


class Proprioception:
  """Puts a bundle's entries in their order."""

  def __init__(self, joints: Sequence[str], wanted: Sequence[str]):
    """Looks the entries up.

    Args:
      joints: [A], the arm's order.
      wanted: [P], a bundle's `proprio_names`.

    Raises:
      ValueError: an entry that no arm has.
    """
    known = names(joints, PARTS)
    strange = [name for name in wanted if name not in known]
    if strange:
      raise ValueError(
        f'proprio_names must be <joint>.<part> of {list(joints)} and '
        f'{list(PARTS)}: {strange}.'
      )
    self._rows = np.array([known.index(name) for name in wanted], int)

  def __call__(
    self, position: np.ndarray, velocity: np.ndarray, sent: np.ndarray | None
  ) -> Felt:
    """Returns proprioception from [A] each, rad, m and their rates.

    Args:
      position, velocity: as measured.
      sent: the last command; None before the first, when nothing presses.
    """
    error = np.zeros_like(position) if sent is None else sent - position
    every = np.concatenate([position, velocity, error]).astype(np.float32)
    return Felt(every[: 2 * len(position)], every[self._rows])
