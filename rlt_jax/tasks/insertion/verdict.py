"""When a tip counts as inside a socket, from poses alone.

The functions use operators only, so that they judge JAX arrays of the task and
NumPy arrays of the bench alike.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.types import Array

# m below the mouth. The tip has entered once it passes this depth. A tip that
# is rammed against the face sinks in by up to 0.7 mm, since contacts are soft.
ENTRY_DEPTH = 0.001


class TipPose(NamedTuple):
  """The plug's tip in the socket's frame, z outward from the mouth's center.

  pos: [3] m. mat: [3, 3], the plug's axes in it.
  """

  pos: Array
  mat: Array


class Drive(NamedTuple):
  """What a tip in the socket drives by rules instead of physics.

  `driven` is a State's leaf of that name, a pytree; all functions judge JAX and
  NumPy arrays alike.

  start: `driven` at the start of an episode.
  advance: (config, pose now, entered, push, driven) -> driven, once per control
    step. push: [] N, what the tip presses into the socket along its axis, the
    mean of the step.
  sunk: (config, driven) -> [] m, how far the socket has moved along its own -z
    since the start of the episode. travel: config -> m, its most.
  done: (config, driven) -> bool [], a condition of success beside the pose.
  failed: (config, driven) -> bool [], an end without success.
  failure: its name in `TaskSpec.outcomes`, after those of every insertion.
  """

  start: Any
  advance: Callable[[Any, TipPose, Array, Array, Any], Any]
  sunk: Callable[[Any, Any], Array]
  travel: Callable[[Any], float]
  done: Callable[[Any, Any], Array]
  failed: Callable[[Any, Any], Array]
  failure: str


class Rules(NamedTuple):
  """A task's verdict; `entered` is a State's leaf of that name.

  start: bool [...], `entered` at the start of an episode.
  enter: (config, pose before, pose now, entered) -> entered, once per control
    step. seated: (config, pose now, entered) -> bool [], success by poses.
  drive: see `Drive`; None where the tip only has to be inserted.
  """

  start: np.ndarray
  enter: Callable[[Any, TipPose, TipPose, Array], Array]
  seated: Callable[[Any, TipPose, Array], Array]
  drive: Drive | None = None


def within(lateral: Array, limit: Array) -> Array:
  """Returns whether lateral [2, ...] is within +-limit, bool [...]."""
  return (abs(lateral[0]) <= limit) & (abs(lateral[1]) <= limit)


def in_cavity(
  before: Array, now: Array, entered: Array, *, limit: float, deepest: float
) -> Array:
  """Returns whether a tip is in its cavity and came through the mouth.

  The tip enters when it passes `ENTRY_DEPTH` inside the mouth's opening, on the
  straight line between two steps, and has left when it is above that depth,
  below the floor or beside the opening.

  Args:
    before, now: [3, ...] m, the tip from the mouth's center, z outward, at the
      previous control step and at this one.
    entered: bool [...], the result of the previous step; False at the start.
    limit: m, of the tip from the center, in x and in y.
    deepest: m below the mouth, of a tip in the cavity.
  """
  depth, fall = -now[2], before[2] - now[2]
  above = -before[2] <= ENTRY_DEPTH
  # Where the line meets the entry depth, times `fall`, which may be 0.
  share = ENTRY_DEPTH + before[2]
  crossing = before[:2] * fall + share * (now[:2] - before[:2])
  inside = (depth > ENTRY_DEPTH) & (depth <= deepest) & within(now[:2], limit)
  return inside & (entered | (above & within(crossing, limit * fall)))
