"""The insertion scene under C MuJoCo, stepped one physics step at a time.

Scene, command limit and outcomes are the same as in `task`, and it can start
from any state of that task.
"""

import copy

import mujoco
import numpy as np

from rlt_jax.sim import two_arm_bench as joints_lib
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.ethernet.state import State

_NO_MOTORS = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
_SIDE = 7  # entries per side: six joints, then the gripper


class EthernetBench:
  """A `tasks.task.Bench`."""

  def __init__(self, config: EthernetConfig, max_reach: np.ndarray):
    """Compiles the scene; the arms are at home, the socket at its mean pose.

    Args:
      config: of the task.
      max_reach: [A] largest distance of a target from the measured pose.
    """
    self._config = config
    self._scene = scene_lib.load(config.clearance_mm, config.timestep)
    self._nominal = self._scene.mj_model
    self._model = copy.copy(self._nominal)  # `place` writes the grasp into it
    self._data = mujoco.MjData(self._model)
    self._max_reach = np.asarray(max_reach, np.float64)
    self._low, self._high = map(joints_lib.to_joints, self._nominal.jnt_range.T)
    self._grasp = (np.zeros(3), np.zeros(3))
    self._socket_rot = np.zeros(3)
    self.timestep = float(self._model.opt.timestep)
    self.stand(np.zeros(joints_lib.ACTION_DIM))

  def place(self, state: State) -> None:
    """Starts an episode: socket, grasp, friction and pose at rest."""
    model, plug = self._model, self._scene.plug_body
    get = {k: np.array(v, np.float64) for k, v in state.items()}
    self._grasp = (get['grasp_pos'], get['grasp_rot'])
    self._socket_rot = get['socket_rot']
    model.body_pos[plug] = self._nominal.body_pos[plug] + get['grasp_pos']
    model.body_quat[plug] = _quaternion(get['grasp_rot'])
    model.pair_friction[:, :2] = get['friction']
    self.stand(joints_lib.to_joints(get['qpos']))
    self._data.mocap_pos[0] = get['socket_pos']
    self._data.mocap_quat[0] = _quaternion(get['socket_rot'])
    mujoco.mj_kinematics(model, self._data)

  def stand(self, joints: np.ndarray) -> None:
    """Starts an episode with the arms at rest at joints [A], rad and m."""
    mujoco.mj_resetData(self._model, self._data)
    self._data.qpos[:] = self._data.ctrl[:] = joints_lib.to_actuators(joints)
    mujoco.mj_kinematics(self._model, self._data)
    self._steps, self._force = 0, 0.0
    self._outcome = EthernetOutcome.RUNNING

  def step(self) -> None:
    """Runs one physics step; judges the episode every control period."""
    mujoco.mj_step(self._model, self._data)
    self._steps += 1
    self._force = max(self._force, self._tip_force())
    if self._steps % self._config.substeps == 0:
      self._judge()

  def positions(self) -> np.ndarray:
    """Returns the measured joints float64 [A], rad and m."""
    return joints_lib.to_joints(self._data.qpos.copy())

  def velocities(self) -> np.ndarray:
    """Returns the joints' velocities float64 [A], per s."""
    return joints_lib.to_joints(self._data.qvel.copy())

  def set_targets(self, joints: np.ndarray) -> np.ndarray:
    """Sets the joints' targets [A] within the task's limit; returns them."""
    targets = self._limited(joints)
    self._data.ctrl[:] = joints_lib.to_actuators(targets)
    return targets

  def stay(self) -> None:
    """Sets the measured joints as the targets."""
    self._data.ctrl[:] = joints_lib.to_actuators(self.positions())

  def power(self, on: bool) -> None:
    """Switches the motors on or off."""
    if on:
      self._model.opt.disableflags &= ~_NO_MOTORS
    else:
      self._model.opt.disableflags |= _NO_MOTORS

  def outcome(self) -> int:
    """Returns the episode's `EthernetOutcome` so far."""
    return self._outcome

  def success(self) -> bool:
    """Returns whether the plug is seated now, by poses alone."""
    config, data = self._config, self._data
    socket = np.zeros(9)
    mujoco.mju_quat2Mat(socket, data.mocap_quat[0])
    socket = socket.reshape(3, 3)
    tip, up = self._tip()
    rel = socket.T @ (tip - data.mocap_pos[0])
    slack = self._scene.clearance + config.lateral_slack_mm * 1e-3
    tilt = np.arccos(np.clip(up @ socket[:, 2], -1.0, 1.0))
    return bool(
      -rel[2] >= config.seated_mm * 1e-3
      and np.all(np.abs(rel[:2]) <= slack)
      and tilt <= np.deg2rad(config.tilt_limit_deg)
    )

  def world(self) -> State:
    """Returns the state with a leading [1], as the cameras take it."""
    data = self._data
    floats = {
      'qpos': data.qpos,
      'qvel': data.qvel,
      'warmstart': data.qacc_warmstart,
      'command': joints_lib.to_joints(data.ctrl.copy()),
      'grasp_pos': self._grasp[0],
      'grasp_rot': self._grasp[1],
      'socket_pos': data.mocap_pos[0],
      'socket_rot': self._socket_rot,
      'friction': self._model.pair_friction[0, 0],
      'reward': self._outcome == EthernetOutcome.SUCCESS,
      'force': self._force,
    }
    return State(
      steps=np.array([self._steps // self._config.substeps], np.int32),
      outcome=np.array([self._outcome], np.int32),
      **{k: np.array([v], np.float32) for k, v in floats.items()},
    )

  def _judge(self) -> None:
    """Sets the outcome as the task does; success overrides the others."""
    config, data = self._config, self._data
    mujoco.mj_kinematics(self._model, data)
    force, self._force = self._force, 0.0
    if self._outcome != EthernetOutcome.RUNNING:
      return
    if self.success():
      self._outcome = EthernetOutcome.SUCCESS
    elif force > config.force_limit or not np.isfinite(data.qpos).all():
      self._outcome = EthernetOutcome.FORCE_LIMIT
    elif self.positions()[_SIDE - 1] > config.drop_opening_mm * 1e-3:
      self._outcome = EthernetOutcome.DROP
    elif self._steps >= config.time_limit * config.substeps:
      self._outcome = EthernetOutcome.TIME_OUT

  def _tip(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tip [3] m, world, and the plug's axis [3]."""
    plug = self._scene.plug_body
    up = self._data.xmat[plug].reshape(3, 3)[:, 2]
    return self._data.xpos[plug] - scene_lib.PLUG_LENGTH * up, up

  def _tip_force(self) -> float:
    """Returns the force at the tip, N, that causes the contact torques."""
    if not self._data.ncon:
      return 0.0
    jacobian = np.zeros((2, 3, self._model.nv))
    plug = self._scene.plug_body
    mujoco.mj_jac(self._model, self._data, *jacobian, self._tip()[0], plug)
    arm = jacobian.reshape(6, -1)[:, :6]
    wrench = np.linalg.solve(arm.T, self._data.qfrc_constraint[:6])
    return float(np.linalg.norm(wrench[:3]))

  def _limited(self, target: np.ndarray) -> np.ndarray:
    """`action_space.limit_command` in NumPy, which is faster for one arm."""
    measured = self.positions()
    over = (np.abs(target - measured) / self._max_reach).reshape(-1, _SIDE)
    over[:, :-1] = over[:, :-1].max(axis=1, keepdims=True)
    over = over.ravel()
    shorter = measured + (target - measured) / np.maximum(over, 1.0)
    return np.clip(np.where(over > 1.0, shorter, target), self._low, self._high)


def _quaternion(rotvec: np.ndarray) -> np.ndarray:
  """Returns the unit quaternion [4] of a rotation vector [3], rad."""
  quat, angle = np.array([1.0, 0.0, 0.0, 0.0]), np.linalg.norm(rotvec)
  if angle > 0.0:
    mujoco.mju_axisAngle2Quat(quat, rotvec / angle, angle)
  return quat
