"""State of one world of an insertion task."""

from typing import Any

import chex

from rlt_jax.sim.variation import Variation
from rlt_jax.types import Array


@chex.dataclass(frozen=True)
class State:
  """One world between control steps; shapes are of one world.

  qpos, qvel, warmstart: [16] joint coordinates (rad, m), velocities and the
    solver's last acceleration, so that a step depends on the state alone.
  command: [A] the executed command of the last step, rad and m.
  grasp_pos, grasp_rot: [3] the plug in the hand, m and rotation vector.
  socket_pos, socket_rot: [3] the mouth in the world, m and rotation vector.
  entered: bool [] or [mouths], whether the tip is in the socket and came
    through its mouth; of several tips, each through its own mouth.
  driven: what the tip drives, see `verdict.Drive`, which moves socket_pos;
    None where it drives nothing.
  friction: []. steps: int32 []. outcome: int32 [], see `Outcome`.
  reward: [] of the last step. force: [] N, the largest net force of the
    socket on the plug in the last step, as of a wrist sensor.
  variation, tighter: None unless the task draws them per episode; tighter is
    [] m, see `bench_opening`.
  """

  qpos: Array
  qvel: Array
  warmstart: Array
  command: Array
  grasp_pos: Array
  grasp_rot: Array
  socket_pos: Array
  socket_rot: Array
  entered: Array
  friction: Array
  steps: Array
  outcome: Array
  reward: Array
  force: Array
  driven: Any = None
  variation: Variation | None = None
  tighter: Array | None = None
