"""Where a hand is: forward kinematics of a `Chain`, and its box."""

from collections.abc import Callable
import functools
import math
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.arm import ArmSpec, Chain

Tip = Callable[[Chain, np.ndarray], np.ndarray]  # joints [N, n] to m [N, 3]

_BISECTIONS = 16  # leaves 1/65536 of a step unused


def tip_position(chain: Chain, joints: np.ndarray) -> np.ndarray:
  """Returns the tip, m [..., 3] in the workspace's frame.

  Args:
    chain: its frames are parallel to the workspace's where joints are zero.
    joints: [..., n] rad.
  """
  point = np.broadcast_to(np.array(chain.tip), (*joints.shape[:-1], 3))
  # From the tip to the base, so that a point is turned and never a matrix.
  for i, (cross, twice) in reversed(list(enumerate(_crosses(chain)))):
    angle = joints[..., i, None]
    turned = np.sin(angle) * (point @ cross)
    turned += (1.0 - np.cos(angle)) * (point @ twice)
    point = point + turned + chain.origins[i]
  return point + np.array(chain.base)


def outside(
  chain: Chain, joints: np.ndarray, tip: Tip = tip_position
) -> np.ndarray:
  """Returns how far the tip is from the chain's box, m [...]; 0 inside."""
  point = tip(chain, joints)
  excess = np.maximum(np.array(chain.low) - point, point - np.array(chain.high))
  return np.sqrt(np.square(np.maximum(excess, 0.0)).sum(axis=-1))


class ClampResult(NamedTuple):
  """What became of commands for one hand.

  joints: [N, n]. lost: bool [N], there is no way that keeps the tip inside,
  nor, from outside, brings it nearer.
  """

  joints: np.ndarray
  lost: np.ndarray


def keep_inside(
  chain: Chain,
  wanted: np.ndarray,
  pose: np.ndarray,
  start: np.ndarray,
  tip: Tip = tip_position,
) -> ClampResult:
  """Shortens commands along their way until the tip is in the box.

  Args:
    chain: of the hand.
    wanted: [N, n] rad.
    pose: [N, n] as measured.
    start: [N, n] where the way begins: the measured pose, or the command
      nearest to it that other limits allow.
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
  way, good, bad = wanted[rows] - start[rows], 0.0, 1.0
  for _ in range(_BISECTIONS):
    middle = np.broadcast_to((good + bad) / 2.0, (rows.size, 1))
    fits = outside(chain, start[rows] + middle * way, tip) == 0.0
    good = np.where(fits[:, None], middle, good)
    bad = np.where(fits[:, None], bad, middle)
  joints[rows] = start[rows] + good * way
  return ClampResult(joints, lost)


def chain_joints(spec: ArmSpec) -> tuple[np.ndarray, ...]:
  """Returns each chain's joints as indices [n].

  Raises:
    ValueError: a chain's joint is unknown, not a rotation or another chain's,
      or a field has the wrong shape or numbers.
  """
  taken, found = set(), []
  for k, chain in enumerate(spec.chains):
    place = f'chains[{k}] of {spec.name}'
    for joint in chain.joints:
      if joint not in spec.joint_names:
        raise ValueError(f'{place} must name joints of the arm: {joint!r}.')
      if spec.joint_units[spec.joint_names.index(joint)] != 'rad':
        raise ValueError(f"{place} must have joints in 'rad': {joint!r}.")
      if joint in taken:
        raise ValueError(f'{place} must share no joint: {joint!r}.')
      taken.add(joint)
    num = len(chain.joints)
    for name, shape in (
      ('base', (3,)), ('tip', (3,)), ('low', (3,)), ('high', (3,)),
      ('origins', (num, 3)), ('axes', (num, 3)),
    ):  # fmt: skip
      value = np.array(getattr(chain, name), float)
      if not num or value.shape != shape or not np.isfinite(value).all():
        raise ValueError(
          f'{name} of {place} must be finite numbers of the shape {shape}: '
          f'{getattr(chain, name)}.'
        )
    for axis in chain.axes:
      if not math.isclose(math.hypot(*axis), 1.0, abs_tol=1e-6):
        raise ValueError(f'axes of {place} must have the length 1: {axis}.')
    if not all(a < b for a, b in zip(chain.low, chain.high, strict=True)):
      raise ValueError(
        f'low of {place} must be below high: {chain.low} and {chain.high}.'
      )
    found.append(
      np.array([spec.joint_names.index(joint) for joint in chain.joints])
    )
  return tuple(found)


def joint_groups(spec: ArmSpec) -> tuple[np.ndarray, ...]:
  """Returns the joints that move one hand, as indices; grippers in none.

  Those are a chain's joints; where there is no chain, neighbours in 'rad'.
  """
  chains = chain_joints(spec)
  chained = {int(i) for joints in chains for i in joints}
  groups, run = list(chains), []
  for i, unit in enumerate((*spec.joint_units, 'm')):
    if unit == 'rad' and i not in chained:
      run.append(i)
    elif run:
      groups.append(np.array(run))
      run = []
  return tuple(groups)


@functools.lru_cache(maxsize=8)
def _crosses(chain: Chain) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
  """Returns, of each axis, `point @ m` for axis x point, and for it twice."""
  found = []
  for x, y, z in chain.axes:
    cross = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
    found.append((cross, cross @ cross))
  return tuple(found)
