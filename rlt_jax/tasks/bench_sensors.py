"""What tasks of the two-arm bench measure of the arms, and how it differs.

The draws of `sim.variation` are of these settings in every task.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim import variation
from rlt_jax.sim.kinematics import Chain
from rlt_jax.tasks.bench_config import BenchConfig
from rlt_jax.types import Array

_Measure = Callable[[Any], Array]


class Sensors(NamedTuple):
  """What is measured of the joints, State -> [..., A]: rad and m; per s."""

  positions: _Measure
  rates: _Measure


def ranges(config: BenchConfig) -> variation.Ranges:
  """Returns what the settings of a task draw in each episode."""
  return variation.Ranges(
    gain=tuple(config.gain),
    camera_shift=config.camera_shift_mm * 1e-3,
    camera_turn=float(np.deg2rad(config.camera_turn_deg)),
    joint_noise=config.joint_noise_mrad * 1e-3,
    joint_rate_noise=config.joint_rate_noise_mrad * 1e-3,
  )


def make(config: BenchConfig, true: Sensors) -> Sensors:
  """Returns the joints' sensors, with the noise of the settings.

  Args:
    config: of the task, whose states have `variation` and `steps`.
    true: without noise.
  """
  drawn = ranges(config)
  if not drawn.joint_noise and not drawn.joint_rate_noise:
    return true

  def noise(state: Any) -> tuple[Array, Array]:
    return variation.sensor_noise(state.variation, state.steps, drawn)

  return Sensors(
    lambda state: true.positions(state) + noise(state)[0],
    lambda state: true.rates(state) + noise(state)[1],
  )


def make_proprio(
  config: BenchConfig, sensors: Sensors, right: Chain, left: Chain
) -> _Measure:
  """Returns State -> proprioception [..., P] of the kind that is set."""
  if config.proprio == 'end_effector':
    return functools.partial(_end_effectors, sensors, right, left)
  return functools.partial(_joints, sensors)


def _joints(sensors: Sensors, state: Any) -> Array:
  """Returns positions, then velocities [..., 2 A]."""
  return jnp.concatenate(
    [sensors.positions(state), sensors.rates(state)], axis=-1
  )


def _end_effectors(
  sensors: Sensors, right: Chain, left: Chain, state: Any
) -> Array:
  """Returns [..., P] of `two_arm_bench.END_EFFECTOR_NAMES`."""
  return bench.end_effectors(
    right, left, sensors.positions(state), sensors.rates(state)
  )
