"""Draws of one episode that a robot has and a nominal model has not.

The stiffness of the joints' controllers, the mounting of the cameras and the
noise of the joint sensors. The physics and the cameras read the drawn values;
verdict and limits use the true state.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.types import Array, PRNGKey

_ARM_JOINTS = np.array([unit == 'rad' for unit in bench.JOINT_UNITS])


class Ranges(NamedTuple):
  """What is drawn.

  gain: lowest and highest factor on a joint's stiffness; its damping stays.
  camera_shift: m, uniform +- per axis. camera_turn: rad, likewise.
  joint_noise, joint_rate_noise: standard deviations of what is measured of the
    arms' joints, rad and rad/s. Grippers are measured without noise.
  """

  gain: tuple[float, float] = (1.0, 1.0)
  camera_shift: float = 0.0
  camera_turn: float = 0.0
  joint_noise: float = 0.0
  joint_rate_noise: float = 0.0


@chex.dataclass(frozen=True)
class Variation:
  """The draws of one episode.

  gain: [A] factors. camera_pos, camera_rot: [cameras, 3] m and rotation
  vectors, in the cameras' own frames. noise_key: uint32 [2], of the sensors.
  """

  gain: Array
  camera_pos: Array
  camera_rot: Array
  noise_key: Array


def draw(key: PRNGKey, ranges: Ranges, num_cameras: int) -> Variation | None:
  """Draws an episode; the key is consumed. None if the ranges are nominal."""
  if ranges == Ranges():
    return None
  gain, shift, turn, noise = jax.random.split(key, 4)
  low, high = ranges.gain
  shape = num_cameras, 3
  return Variation(
    gain=jax.random.uniform(gain, (bench.ACTION_DIM,), minval=low, maxval=high),
    camera_pos=ranges.camera_shift
    * jax.random.uniform(shift, shape, minval=-1.0),
    camera_rot=ranges.camera_turn
    * jax.random.uniform(turn, shape, minval=-1.0),
    noise_key=noise,
  )


def set_model(model: mjx.Model, variation: Variation | None) -> mjx.Model:
  """Returns the model of one world with its gains and cameras."""
  if variation is None:
    return model
  gain = bench.to_actuators(variation.gain)
  turns = jax.vmap(kinematics.quaternion)(variation.camera_rot)
  return model.tree_replace(
    {
      'actuator_gainprm': model.actuator_gainprm.at[:, 0].multiply(gain),
      'actuator_biasprm': model.actuator_biasprm.at[:, 1].multiply(gain),
      'cam_pos': model.cam_pos + variation.camera_pos,
      'cam_quat': jax.vmap(kinematics.quaternion_product)(
        model.cam_quat, turns
      ),
    }
  )


def set_mujoco_gains(
  model: mujoco.MjModel, nominal: mujoco.MjModel, variation: Variation | None
) -> None:
  """Writes one world's gains into a C model; None restores the nominal ones."""
  gain = 1.0
  if variation is not None:
    gain = bench.to_actuators(np.array(variation.gain, np.float64))
  model.actuator_gainprm[:, 0] = nominal.actuator_gainprm[:, 0] * gain
  model.actuator_biasprm[:, 1] = nominal.actuator_biasprm[:, 1] * gain


def sensor_noise(
  variation: Variation, steps: Array, ranges: Ranges
) -> tuple[Array, Array]:
  """Returns the noise of positions and rates [..., A], rad and rad/s.

  It is a function of the episode's key and the control step, so that all that
  is read of one state agrees.

  Args:
    variation: leaves [..., x]. steps: int32 [...]. ranges: its deviations.
  """

  def one(key: PRNGKey, step: Array) -> Array:
    return jax.random.normal(
      jax.random.fold_in(key, step), (2, bench.ACTION_DIM)
    )

  lead = jnp.shape(steps)
  normal = jax.vmap(one)(
    jnp.reshape(variation.noise_key, (-1, 2)), jnp.reshape(steps, (-1,))
  ).reshape(*lead, 2, bench.ACTION_DIM)
  normal = jnp.where(_ARM_JOINTS, normal, 0.0)
  return (
    ranges.joint_noise * normal[..., 0, :],
    ranges.joint_rate_noise * normal[..., 1, :],
  )
