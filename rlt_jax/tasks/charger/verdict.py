"""When the charger counts as plugged in, from poses alone.

The functions judge JAX arrays of the task and NumPy arrays of the bench alike.
"""

import numpy as np

from rlt_jax.tasks.charger.config import ChargerConfig
from rlt_jax.tasks.charger.scene import MOUTHS, PRONGS
from rlt_jax.tasks.insertion import verdict
from rlt_jax.tasks.insertion.verdict import TipPose
from rlt_jax.types import Array


def prongs_in_slots(tip: TipPose) -> Array:
  """Returns the prongs' tips [3, 2] m, each from the middle of its mouth."""
  return tip.pos[:, None] + tip.mat @ PRONGS - MOUTHS


def enter(
  config: ChargerConfig, before: TipPose, now: TipPose, entered: Array
) -> Array:
  """Returns whether each prong is in its slot and came through its mouth."""
  return verdict.in_cavity(
    prongs_in_slots(before),
    prongs_in_slots(now),
    entered,
    limit=(config.clearance_mm + config.mouth_slack_mm) * 1e-3,
    deepest=config.deepest_mm * 1e-3,
  )


def seated(config: ChargerConfig, tip: TipPose, entered: Array) -> Array:
  """Returns whether both prongs are in; `entered` is of `enter`, now."""
  prongs = prongs_in_slots(tip)
  slack = (config.clearance_mm + config.lateral_slack_mm) * 1e-3
  inside = (
    entered
    & (-prongs[2] >= config.seated_mm * 1e-3)
    & verdict.within(prongs, slack)
  )
  upright = tip.mat[2, 2] >= np.cos(np.deg2rad(config.tilt_limit_deg))
  return inside[0] & inside[1] & upright


RULES = verdict.Rules(start=np.zeros(2, bool), enter=enter, seated=seated)
