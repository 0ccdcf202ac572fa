"""When the screw counts as driven home."""

import numpy as np

from rlt_jax.tasks.insertion import verdict
from rlt_jax.tasks.insertion.verdict import TipPose
from rlt_jax.tasks.screw import turning
from rlt_jax.tasks.screw.config import ScrewConfig
from rlt_jax.types import Array


def enter(
  config: ScrewConfig, before: TipPose, now: TipPose, entered: Array
) -> Array:
  """Returns whether the bit is in the recess and came through its mouth."""
  return verdict.in_cavity(
    before.pos,
    now.pos,
    entered,
    limit=(config.clearance_mm + config.mouth_slack_mm) * 1e-3,
    deepest=config.deepest_mm * 1e-3,
  )


def seated(config: ScrewConfig, tip: TipPose, entered: Array) -> Array:
  """Returns whether the bit is in the recess; turns are counted elsewhere."""
  return entered & turning.fits(config, tip)


RULES = verdict.Rules(
  start=np.bool_(False), enter=enter, seated=seated, drive=turning.DRIVE
)
