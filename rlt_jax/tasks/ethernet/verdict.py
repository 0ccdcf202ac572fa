"""When the Ethernet plug counts as inserted, from poses alone.

The functions judge JAX arrays of the task and NumPy arrays of the bench alike.
"""

import numpy as np

from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion import verdict
from rlt_jax.tasks.insertion.verdict import TipPose
from rlt_jax.types import Array


def enter(
  config: EthernetConfig, before: TipPose, now: TipPose, entered: Array
) -> Array:
  """Returns whether the tip is in the socket and came through its mouth."""
  return verdict.in_cavity(
    before.pos,
    now.pos,
    entered,
    limit=(config.clearance_mm + config.mouth_slack_mm) * 1e-3,
    deepest=config.deepest_mm * 1e-3,
  )


def seated(config: EthernetConfig, tip: TipPose, entered: Array) -> Array:
  """Returns whether the plug is inserted; `entered` is of `enter`, now."""
  slack = (config.clearance_mm + config.lateral_slack_mm) * 1e-3
  return (
    entered
    & (-tip.pos[2] >= config.seated_mm * 1e-3)
    & verdict.within(tip.pos, slack)
    & (tip.mat[2, 2] >= np.cos(np.deg2rad(config.tilt_limit_deg)))
  )


RULES = verdict.Rules(start=np.array(False), enter=enter, seated=seated)
