"""Forward kinematics of a `Chain`: its tip, and how the joints move it.

The simulator's (`sim.kinematics`) is in JAX and gives the whole pose. One form
for both, made of matrices, took ten times as long here (12 rows in 2.4 ms
instead of 0.23 ms on a busy core), which a control step cannot spare; a test of
the simulated arm holds the two together to 1e-7 m.
"""

from collections.abc import Callable
import functools
import math

import numpy as np

from rlt_jax.robot.arm import ArmSpec, Chain

# Forward kinematics: chain, joints [N, n] rad -> tip [N, 3] m.
TipFn = Callable[[Chain, np.ndarray], np.ndarray]


def tip_position(chain: Chain, joints: np.ndarray) -> np.ndarray:
  """Returns the tip, m [..., 3] in the workspace's frame.

  Args:
    chain: its frames are parallel to the workspace's where joints are zero.
    joints: [..., n] rad.
  """
  point = np.broadcast_to(np.array(chain.tip), (*joints.shape[:-1], 3))
  # From the tip to the base: this rotates points and multiplies no matrices.
  for i, cross in reversed(list(enumerate(_cross_products(chain)))):
    point = _rotate(point, cross, joints[..., i, None]) + chain.origins[i]
  return point + np.array(chain.base)


def tip_jacobian(chain: Chain, joints: np.ndarray) -> np.ndarray:
  """Returns [6, n]: m and rad of the tip, in the workspace, per rad of joint.

  Args:
    chain: as for `tip_position`.
    joints: [n] rad.
  """
  point = np.array(chain.tip)  # in the frame before joint i
  columns = np.zeros((0, 2, 3))  # of joints i..n-1: linear, angular
  for i, cross in reversed(list(enumerate(_cross_products(chain)))):
    point = _rotate(point, cross, joints[i])
    columns = _rotate(columns, cross, joints[i])
    axis = np.array(chain.axes[i])
    column = np.stack([np.cross(axis, point), axis])
    columns = np.concatenate([column[None], columns])
    point = point + chain.origins[i]
  return columns.reshape(-1, 6).T


def solve_damped(
  jacobian: np.ndarray, twist: np.ndarray, damping: float
) -> np.ndarray:
  """Returns joint changes [n] for a tip's [6], by damped least squares.

  Damping bounds the joints' motion where the arm is singular and an exact
  answer would be infinite.
  """
  square = jacobian @ jacobian.T + damping**2 * np.eye(6)
  return jacobian.T @ np.linalg.solve(square, twist)


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
    _check_geometry(chain, place)
    found.append(
      np.array([spec.joint_names.index(joint) for joint in chain.joints])
    )
  return tuple(found)


def joint_groups(spec: ArmSpec) -> tuple[np.ndarray, ...]:
  """Returns the joints that move one tip, as indices; grippers in none.

  They are a chain's joints; without a chain, neighboring joints in 'rad'.
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


def _check_geometry(chain: Chain, place: str) -> None:
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


def _rotate(
  points: np.ndarray,
  cross: tuple[np.ndarray, np.ndarray],
  angle: np.ndarray | float,
) -> np.ndarray:
  """Rotates points [..., 3] about an axis (Rodrigues' formula)."""
  once, twice = cross
  turned = np.sin(angle) * (points @ once)
  turned += (1.0 - np.cos(angle)) * (points @ twice)
  return points + turned


@functools.lru_cache(maxsize=8)
def _cross_products(
  chain: Chain,
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
  """Returns two matrices per axis, for use as `point @ matrix`.

  The first gives axis x point, the second axis x (axis x point).
  """
  found = []
  for x, y, z in chain.axes:
    cross = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
    found.append((cross, cross @ cross))
  return tuple(found)
