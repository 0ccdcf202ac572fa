"""When the strap counts as threaded and as tight, from poses alone.

The functions use operators only, so that they judge JAX arrays of the task and
NumPy arrays of the bench alike.
"""

import numpy as np

from rlt_jax.tasks.insertion.verdict import ENTRY_DEPTH, within
from rlt_jax.tasks.zip_tie.config import ZipTieConfig
from rlt_jax.tasks.zip_tie.scene import SLOT_LENGTH
from rlt_jax.tasks.zip_tie.strap import ALIGNED, StrapPose
from rlt_jax.types import Array


def crossing(points: Array, height: float) -> tuple[Array, Array]:
  """Returns where the strap's middle line comes down through a plane.

  Args:
    points: [4, 3] m, of `StrapPose`.
    height: m, z of the plane.

  Returns:
    [2] m, x and y; and bool [], whether it comes through exactly once.
  """
  above, below = points[:-1], points[1:]
  through = (above[:, 2] > height) & (below[:, 2] <= height)
  fall = through * (above[:, 2] - below[:, 2]) + ~through
  share = through * (above[:, 2] - height) / fall
  places = above[:, :2] + share[:, None] * (below[:, :2] - above[:, :2])
  return (through[:, None] * places).sum(0), through.sum() == 1


def in_slot(strap: StrapPose, limit: float) -> Array:
  """Returns whether the strap lies in the slot, from the mouth to its tip.

  Args:
    strap: its pose.
    limit: m, of its middle line from the slot's, in x and in y.
  """
  top, enters = crossing(strap.points, 0.0)
  end, leaves = crossing(strap.points, -SLOT_LENGTH)
  beyond = -strap.tip[2] >= SLOT_LENGTH
  inside = within(strap.tip[:2], limit) & ~beyond
  outside = within(end, limit) & leaves & beyond
  return enters & within(top, limit) & (inside | outside)


def _aligned(config: ZipTieConfig, mat: Array) -> Array:
  """Returns whether the teeth face the pawl, and the strap its slot."""
  turn = (mat * ALIGNED).sum(0)  # cosines of x and y axes; and of z
  least = np.cos(np.deg2rad(config.turn_limit_deg))
  return (turn[0] >= least) & (turn[1] >= least) & (turn[2] >= least)


def enter(
  config: ZipTieConfig, before: StrapPose, now: StrapPose, entered: Array
) -> Array:
  """Returns whether the strap is in the slot and came through its mouth.

  The tip enters when it passes `ENTRY_DEPTH` inside the opening, on the
  straight line between two steps.

  Args:
    config: of the task.
    before, now: at the previous control step and at this one.
    entered: bool [], the result of the previous step; False at the start.
  """
  limit = (config.clearance_mm + config.mouth_slack_mm) * 1e-3
  old, new = before.tip, now.tip
  fall, share = old[2] - new[2], ENTRY_DEPTH + old[2]
  # Where the line meets the entry depth, times `fall`, which may be 0.
  place = old[:2] * fall + share * (new[:2] - old[:2])
  comes = (-old[2] <= ENTRY_DEPTH) & within(place, limit * fall)
  inside = (-new[2] > ENTRY_DEPTH) & (-new[2] <= config.deepest_mm * 1e-3)
  return (
    inside & in_slot(now, limit) & _aligned(config, now.mat) & (entered | comes)
  )


def catch(
  config: ZipTieConfig, strap: StrapPose, entered: Array, caught: Array
) -> Array:
  """Returns the depth of the tip, m, that the pawl holds after this step.

  The last tooth that came past it, of a strap that is threaded.

  Args:
    config: of the task.
    strap: its pose now.
    entered: bool [], of `enter`, now.
    caught: [] m, before.
  """
  depth, tooth = -strap.tip[2], config.tooth_mm * 1e-3
  past = (depth // tooth) * tooth
  deeper = entered & (depth >= config.threaded_mm * 1e-3) & (past > caught)
  return deeper * past + ~deeper * caught


def tight(config: ZipTieConfig, strap: StrapPose, entered: Array) -> Array:
  """Returns whether the strap is drawn tight; `entered` is of `enter`, now."""
  limit = (config.clearance_mm + config.lateral_slack_mm) * 1e-3
  deep = -strap.tip[2] >= config.tight_mm * 1e-3
  return entered & deep & in_slot(strap, limit)


def buckled(config: ZipTieConfig, strap: StrapPose) -> Array:
  """Returns whether the strap is bent beyond the limit."""
  return abs(strap.bends).sum() > np.deg2rad(config.bend_limit_deg)
