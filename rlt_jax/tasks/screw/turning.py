"""What the bit drives: rules in place of a motor, a thread and friction.

The functions use operators only, so that they judge JAX arrays of the task and
NumPy arrays of the bench alike.
"""

from typing import NamedTuple

import numpy as np

from rlt_jax.tasks.insertion.verdict import Drive, TipPose
from rlt_jax.tasks.screw.config import ScrewConfig
from rlt_jax.types import Array


class Turning(NamedTuple):
  """The screw of one world.

  turns: bool [], whether the motor turns it. steps: int32 [], control steps
  that it has turned. cam_outs: int32 [], how often the push was lost.
  """

  turns: Array
  steps: Array
  cam_outs: Array


def fits(config: ScrewConfig, tip: TipPose) -> Array:
  """Returns whether a bit is deep and straight enough in the recess."""
  # The recess is square: turned by 90 degrees it is the same.
  x, y = tip.mat[0, 0], tip.mat[1, 0]
  # cos(4 yaw), without an arc tangent.
  double = x * x - y * y
  cos = 2.0 * double * double / (x * x + y * y) ** 2 - 1.0
  return (
    (-tip.pos[2] >= config.engage_mm * 1e-3)
    & (cos >= np.cos(4 * np.deg2rad(config.yaw_limit_deg)))
    & (tip.mat[2, 2] >= np.cos(np.deg2rad(config.tilt_limit_deg)))
  )


def advance(
  config: ScrewConfig,
  tip: TipPose,
  entered: Array,
  push: Array,
  driven: Turning,
) -> Turning:
  """Turns the screw by a control step if the bit is in and pressed."""
  ready = entered & fits(config, tip) & ~is_seated(config, driven)
  started = ready & (push >= config.engage_push_n)
  turns = started | (driven.turns & ready & (push >= config.hold_push_n))
  lost = driven.turns & ~turns & ~is_seated(config, driven)
  return Turning(
    turns=turns,
    steps=driven.steps + turns * np.int32(1),
    cam_outs=driven.cam_outs + lost * np.int32(1),
  )


def turned(config: ScrewConfig, driven: Turning) -> Array:
  """Returns the turns so far."""
  return driven.steps * np.float32(config.turn_per_step)


def sunk(config: ScrewConfig, driven: Turning) -> Array:
  """Returns how far the head has sunk, m."""
  return turned(config, driven) * np.float32(config.pitch_mm * 1e-3)


def travel(config: ScrewConfig) -> float:
  """Returns how far a seated head has sunk, m."""
  return config.seated_steps * config.turn_per_step * config.pitch_mm * 1e-3


def is_seated(config: ScrewConfig, driven: Turning) -> Array:
  """Returns whether the screw has all its turns."""
  return driven.steps >= config.seated_steps


def is_ruined(config: ScrewConfig, driven: Turning) -> Array:
  """Returns whether the bit cammed out too often."""
  return driven.cam_outs > config.cam_out_limit


DRIVE = Drive(
  start=Turning(np.bool_(False), np.int32(0), np.int32(0)),
  advance=advance,
  sunk=sunk,
  travel=travel,
  done=is_seated,
  failed=is_ruined,
  failure='cam_out',
)
