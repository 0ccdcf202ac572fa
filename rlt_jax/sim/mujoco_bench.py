"""The two-arm bench under C MuJoCo, stepped one physics step at a time."""

import copy

import mujoco
import numpy as np

from rlt_jax.sim import two_arm_bench as joints_lib

_NO_MOTORS = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
_SIDE = 7  # entries per side: six joints, then the gripper


class MujocoBench:
  """Arms, their targets and their limits; a task adds episodes and outcomes.

  model: a copy that may be changed. data: of it.
  """

  def __init__(self, model: mujoco.MjModel, max_reach: np.ndarray):
    """Puts the arms at home.

    Args:
      model: the compiled scene.
      max_reach: [A] largest distance of a target from the measured pose.
    """
    self.model = copy.copy(model)
    self.data = mujoco.MjData(self.model)
    self._max_reach = np.asarray(max_reach, np.float64)
    # A tool may have joints of its own, which no motor drives.
    driven = model.actuator_trnid[:, 0]
    self._qpos, self._qvel = model.jnt_qposadr[driven], model.jnt_dofadr[driven]
    self._low, self._high = map(joints_lib.to_joints, model.jnt_range[driven].T)
    self.timestep = float(model.opt.timestep)

  def set_joints(self, joints: np.ndarray) -> None:
    """Resets the scene with the arms at rest at joints [A], rad and m."""
    mujoco.mj_resetData(self.model, self.data)
    self.data.ctrl[:] = joints_lib.to_actuators(joints)
    self.data.qpos[self._qpos] = self.data.ctrl
    mujoco.mj_kinematics(self.model, self.data)

  def positions(self) -> np.ndarray:
    """Returns the measured joints float64 [A], rad and m."""
    return joints_lib.to_joints(self.data.qpos[self._qpos])

  def velocities(self) -> np.ndarray:
    """Returns the joints' velocities float64 [A], per s."""
    return joints_lib.to_joints(self.data.qvel[self._qvel])

  def set_targets(self, joints: np.ndarray) -> np.ndarray:
    """Sets the joints' targets [A] within the task's limit; returns them."""
    targets = self._limited(joints)
    self.data.ctrl[:] = joints_lib.to_actuators(targets)
    return targets

  def stay(self) -> None:
    """Sets the measured joints as the targets."""
    self.data.ctrl[:] = joints_lib.to_actuators(self.positions())

  def power(self, on: bool) -> None:
    """Switches the motors on or off."""
    if on:
      self.model.opt.disableflags &= ~_NO_MOTORS
    else:
      self.model.opt.disableflags |= _NO_MOTORS

  def overlap(self) -> float:
    """Returns how deep any two bodies in contact overlap now, m, at least 0."""
    mujoco.mj_fwdPosition(self.model, self.data)
    return max(0.0, *-self.data.contact.dist, 0.0)

  def right_force_at(self, point: np.ndarray, body: int) -> np.ndarray:
    """Returns the force [3], N, world, at a point that causes the torques of
    all constraints: contacts, and limits of joints and tendons.

    Args:
      point: [3] m, world.
      body: that the point is fixed to, in the right hand.
    """
    if not self.data.nefc:
      return np.zeros(3)
    jacobian = np.zeros((2, 3, self.model.nv))
    mujoco.mj_jac(self.model, self.data, *jacobian, point, body)
    arm = jacobian.reshape(6, -1)[:, :6]
    wrench = np.linalg.solve(arm.T, self.data.qfrc_constraint[:6])
    return wrench[:3]

  def _limited(self, target: np.ndarray) -> np.ndarray:
    """`action_space.limit_command` in NumPy, which is faster for one arm."""
    measured = self.positions()
    over = (np.abs(target - measured) / self._max_reach).reshape(-1, _SIDE)
    over[:, :-1] = over[:, :-1].max(axis=1, keepdims=True)
    over = over.ravel()
    shorter = measured + (target - measured) / np.maximum(over, 1.0)
    return np.clip(np.where(over > 1.0, shorter, target), self._low, self._high)


def quaternion(rotvec: np.ndarray) -> np.ndarray:
  """Returns the unit quaternion [4] of a rotation vector [3], rad."""
  quat, angle = np.array([1.0, 0.0, 0.0, 0.0]), np.linalg.norm(rotvec)
  if angle > 0.0:
    mujoco.mju_axisAngle2Quat(quat, rotvec / angle, angle)
  return quat


def matrix(quat: np.ndarray) -> np.ndarray:
  """Returns the matrix [3, 3] of a unit quaternion [4]."""
  mat = np.zeros(9)
  mujoco.mju_quat2Mat(mat, quat)
  return mat.reshape(3, 3)
