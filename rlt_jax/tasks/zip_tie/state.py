"""State of one world of the zip tie task."""

import chex
import jax
import numpy as np

from rlt_jax.sim.variation import Variation
from rlt_jax.types import Array

# The strap's own joints stand between those of the right and of the left arm.
BENDS = slice(8, 10)


@chex.dataclass(frozen=True)
class State:
  """One world between control steps; shapes are of one world.

  qpos, qvel, warmstart: [18] joint coordinates (rad, m), velocities and the
    solver's last acceleration, so that a step depends on the state alone; see
    `arms` and `BENDS`.
  command: [A] the executed command of the last step, rad and m.
  strap_pos, strap_rot: [3] the strap in the right hand, m and rotation vector.
  head_pos, head_rot: [3] the head in the left hand, likewise.
  entered: bool [], whether the strap is in the slot and came through its mouth.
  caught: [] m, the depth of the tip that the pawl holds; 0 before it catches.
  friction: []. steps: int32 []. outcome: int32 [], see `Outcome`.
  reward: [] of the last step. force: [] N, the largest net force of head and
    pawl on the strap in the last step, as of a wrist sensor.
  variation, tighter: None unless the task draws them per episode; tighter is
    [] m, see `bench_opening`.
  """

  qpos: Array
  qvel: Array
  warmstart: Array
  command: Array
  strap_pos: Array
  strap_rot: Array
  head_pos: Array
  head_rot: Array
  entered: Array
  caught: Array
  friction: Array
  steps: Array
  outcome: Array
  reward: Array
  force: Array
  variation: Variation | None = None
  tighter: Array | None = None


def arms(values: Array) -> Array:
  """Returns the arms' entries [..., 16] of joint coordinates [..., 18]."""
  xp = np if isinstance(values, np.ndarray) else jax.numpy
  parts = values[..., : BENDS.start], values[..., BENDS.stop :]
  return xp.concatenate(parts, axis=-1)
