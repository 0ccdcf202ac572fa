"""From the motion of a tip to that of the joints that carry it."""

import numpy as np

from rlt_jax.robot.arm import Chain


def tip_jacobian(chain: Chain, angles: np.ndarray) -> np.ndarray:
  """Returns [6, n]: m and rad of the tip, in the workspace, per rad of joint.

  Args:
    chain: the way to the tip, n joints.
    angles: [n] rad.
  """
  turn, place = np.eye(3), np.array(chain.base)
  places, axes = [], []
  for origin, axis, angle in zip(
    chain.origins, chain.axes, angles, strict=True
  ):
    place = place + turn @ origin
    places.append(place)
    axes.append(turn @ axis)
    turn = turn @ _rotation(np.array(axis), angle)
  tip = place + turn @ chain.tip
  return np.stack(
    [
      np.concatenate([np.cross(axis, tip - place), axis])
      for place, axis in zip(places, axes, strict=True)
    ],
    axis=1,
  )


def solve(jacobian: np.ndarray, twist: np.ndarray, damping: float):
  """Returns joint changes [n] for a tip's [6], by damped least squares.

  Damping bounds the joints' motion where the arm is singular and an exact
  answer would be infinite.
  """
  square = jacobian @ jacobian.T + damping**2 * np.eye(6)
  return jacobian.T @ np.linalg.solve(square, twist)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
  x, y, z = axis
  cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
