"""Keeps the tip of a chain inside its workspace box."""

from typing import NamedTuple

import numpy as np

from rlt_jax.robot.arm import Chain
from rlt_jax.robot.control.kinematics import tip_position, TipFn

_BISECTIONS = 16  # leaves 1/65536 of a step unused


def outside(
  chain: Chain, joints: np.ndarray, tip: TipFn = tip_position
) -> np.ndarray:
  """Returns how far the tip is from the chain's box, m [...]; 0 inside."""
  point = tip(chain, joints)
  excess = np.maximum(np.array(chain.low) - point, point - np.array(chain.high))
  return np.sqrt(np.square(np.maximum(excess, 0.0)).sum(axis=-1))


class ClampResult(NamedTuple):
  """Commands for one chain that keep its tip inside.

  joints: [N, n]. lost: bool [N], no part of the command keeps the tip inside
  or, from outside, brings it nearer.
  """

  joints: np.ndarray
  lost: np.ndarray


def keep_inside(
  chain: Chain,
  wanted: np.ndarray,
  pose: np.ndarray,
  start: np.ndarray,
  tip: TipFn = tip_position,
) -> ClampResult:
  """Shortens commands until the tip is in the box.

  Args:
    chain: the chain.
    wanted: [N, n] rad, the commands.
    pose: [N, n] rad, as measured.
    start: [N, n] rad, the end that commands are shortened to: the measured
      pose, or the command nearest to it that other limits allow.
    tip: forward kinematics.
  """
  far = outside(chain, wanted, tip)
  joints = wanted.copy()
  lost = ~(far == 0.0)  # also where kinematics gave NaN
  rows = np.flatnonzero(lost)
  if not rows.size:
    return ClampResult(joints, lost)
  measured = outside(chain, pose[rows], tip)
  lost[rows[(measured > 0.0) & (far[rows] <= measured)]] = False
  inside = (measured == 0.0) & (outside(chain, start[rows], tip) == 0.0)
  rows = rows[inside]
  lost[rows] = False
  motion, good, bad = wanted[rows] - start[rows], 0.0, 1.0
  for _ in range(_BISECTIONS):
    middle = np.broadcast_to((good + bad) / 2.0, (rows.size, 1))
    fits = outside(chain, start[rows] + middle * motion, tip) == 0.0
    good = np.where(fits[:, None], middle, good)
    bad = np.where(fits[:, None], bad, middle)
  joints[rows] = start[rows] + good * motion
  return ClampResult(joints, lost)
