"""The insertion scene under C MuJoCo in real time, driven like an arm.

It has the methods of `rlt_jax.robot.arm.Arm`, so that the loop which drives
arms drives it; the scene, the limit on commands and the verdict are those of
`rlt_jax.tasks.ethernet.insertion`, whose episodes it can be put into.
"""

import copy
import threading
from typing import Any, NamedTuple

import mujoco
import numpy as np

from rlt_jax.tasks.ethernet import insertion
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import Outcome, TaskConfig
from rlt_jax.types import PRNGKey

_NO_MOTORS = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
_SIDE = 7  # entries a side: six joints, then the gripper
_CATCH_UP_S = 1.0  # a longer pause is not simulated: the arm has come to rest
_STOW_SPEED = 0.25  # of the joint's largest velocity
_STOW_GAP_S = 0.05  # a pause between two calls moves the ramp no further


class Reading(NamedTuple):
  """position, velocity: float64 [A], rad, m, per s. time: s, of the physics."""

  position: np.ndarray
  velocity: np.ndarray
  time: float


class SimArm:
  """The simulated bench as an arm; physics follows the clock.

  Every call first steps the physics up to the clock's now. Calls may come
  from several threads: a camera's, a learner's. Misuse raises ValueError.
  """

  def __init__(
    self,
    spec: Any,
    config: TaskConfig | None = None,
    *,
    clock: Any,
  ):
    """Compiles the scene; the arm stands at home over a central socket.

    Args:
      spec: an `ArmSpec`; its joint_names, max_velocity and stow are used.
      config: the task; None is `ethernet-0.30mm`.
      clock: a `rlt_jax.robot.clock.Clock`, which the physics follows.

    Raises:
      ValueError: the spec's joints are not the scene's.
    """
    if tuple(spec.joint_names) != scene_lib.JOINTS:
      raise ValueError(
        f'joint_names must be {scene_lib.JOINTS}: {spec.joint_names}.'
      )
    self.spec = spec
    self._task = insertion.make(config)
    self._reset = insertion.jit(self._task.reset)
    self._nominal = self._task.scene.mj_model
    self._model = copy.copy(self._nominal)  # the grasp is written into it
    self._data = mujoco.MjData(self._model)
    self._reach = insertion.reach(self._task.config).astype(np.float64)
    self._low, self._high = map(scene_lib.to_joints, self._nominal.jnt_range.T)
    self._grasp = (np.zeros(3), np.zeros(3))
    self._socket_rot = np.zeros(3)
    self._clock = clock
    self._lock = threading.RLock()
    self._connected = False
    self._begin(np.zeros(scene_lib.ACTION_DIM))

  def connect(self) -> None:
    """Starts the physics' time, and switches the motors on."""
    with self._lock:
      self._model.opt.disableflags &= ~_NO_MOTORS
      self._began = self._clock.now() - self._steps * self._model.opt.timestep
      self._ramp, self._connected = None, True

  def observe(self) -> Reading:
    """Returns the joints."""
    with self._lock:
      self._advance()
      return Reading(
        scene_lib.to_joints(self._data.qpos.copy()),
        scene_lib.to_joints(self._data.qvel.copy()),
        self._began + self._steps * self._model.opt.timestep,
      )

  def command(self, target: np.ndarray) -> np.ndarray:
    """Sends targets [A] (rad, m); returns what the task's limit left of them.

    Raises:
      ValueError: a shape that is not [A], or a number that is not finite.
    """
    target = np.asarray(target, np.float64)
    if target.shape != self._low.shape or not np.isfinite(target).all():
      raise ValueError(f'target must be {self._low.shape}, finite: {target}.')
    with self._lock:
      self._advance()
      self._ramp = None
      executed = self._limited(target)
      self._data.ctrl[:] = scene_lib.to_actuators(executed)
      self._holding = False
      return executed

  def hold(self) -> None:
    """Stays where it is. Repeated calls keep the place of the first."""
    with self._lock:
      self._advance()
      self._ramp = None
      if not self._holding:
        self._data.ctrl[:] = scene_lib.to_actuators(self._pose())
        self._holding = True

  def stow(self) -> bool:
    """Moves towards `spec.stow`; True once there."""
    with self._lock:
      self._advance()
      now, goal = self._clock.now(), np.array(self.spec.stow, np.float64)
      target, before = self._ramp or (self._pose(), now)
      step = np.array(self.spec.max_velocity) * _STOW_SPEED
      step *= np.clip(now - before, 0.0, _STOW_GAP_S)
      target = target + np.clip(goal - target, -step, step)
      target = self._limited(target)
      self._ramp, self._holding = (target, now), False
      self._data.ctrl[:] = scene_lib.to_actuators(target)
      there = np.abs(self._pose() - goal) <= self._reach
      return bool(there.all() and np.array_equal(target, goal))

  def disable(self) -> None:
    """Switches the motors off until connect()."""
    with self._lock:
      self._advance()
      self._model.opt.disableflags |= _NO_MOTORS

  def disconnect(self) -> None:
    """Stops the physics' time."""
    with self._lock:
      self._connected = False

  def episode(self, key: PRNGKey) -> None:
    """Puts the bench into the episode that `Task.reset` draws from the key."""
    self.place(self._reset(key))

  def place(self, state: insertion.State) -> None:
    """Puts the bench into a state: socket, grasp, friction and pose at rest.

    Args:
      state: one world, such as `Task.reset` returns.
    """
    with self._lock:
      model, plug = self._model, self._task.scene.plug_body
      get = {k: np.array(v, np.float64) for k, v in state.items()}
      self._grasp = (get['grasp_pos'], get['grasp_rot'])
      self._socket_rot = get['socket_rot']
      model.body_pos[plug] = self._nominal.body_pos[plug] + get['grasp_pos']
      model.body_quat[plug] = _quaternion(get['grasp_rot'])
      model.pair_friction[:, :2] = get['friction']
      self._begin(scene_lib.to_joints(get['qpos']))
      self._data.mocap_pos[0] = get['socket_pos']
      self._data.mocap_quat[0] = _quaternion(get['socket_rot'])
      mujoco.mj_kinematics(model, self._data)

  def success(self) -> bool:
    """Returns whether the plug is seated now, by poses alone."""
    with self._lock:
      self._advance()
      return self._seated()

  def outcome(self) -> int:
    """Returns the episode's `Outcome`, judged every control period."""
    with self._lock:
      self._advance()
      return self._outcome

  def cameras(self) -> insertion.State:
    """Returns the world with a leading [1], as `camera.make` renders it."""
    with self._lock:
      self._advance()
      data = self._data
      floats = {
        'qpos': data.qpos,
        'qvel': data.qvel,
        'warmstart': data.qacc_warmstart,
        'command': scene_lib.to_joints(data.ctrl.copy()),
        'grasp_pos': self._grasp[0],
        'grasp_rot': self._grasp[1],
        'socket_pos': data.mocap_pos[0],
        'socket_rot': self._socket_rot,
        'friction': self._model.pair_friction[0, 0],
        'reward': self._outcome == Outcome.SUCCESS,
        'force': self._force,
      }
      steps = self._episode_steps // self._task.config.substeps
      return insertion.State(
        steps=np.array([steps], np.int32),
        outcome=np.array([self._outcome], np.int32),
        **{k: np.array([v], np.float32) for k, v in floats.items()},
      )

  def _begin(self, joints: np.ndarray) -> None:
    """Stands the arm still at joints [A], at the start of an episode."""
    mujoco.mj_resetData(self._model, self._data)
    self._data.qpos[:] = self._data.ctrl[:] = scene_lib.to_actuators(joints)
    mujoco.mj_kinematics(self._model, self._data)
    self._began, self._steps = self._clock.now(), 0
    self._episode_steps, self._force = 0, 0.0
    self._outcome, self._holding = Outcome.RUNNING, False
    self._ramp: tuple[np.ndarray, float] | None = None

  def _advance(self) -> None:
    """Steps the physics up to the clock's now."""
    if not self._connected:
      raise ValueError('connect() must come before everything else.')
    timestep = self._model.opt.timestep
    due = int((self._clock.now() - self._began) / timestep + 1e-6) - self._steps
    skipped = max(due - round(_CATCH_UP_S / timestep), 0)
    self._began += skipped * timestep
    for _ in range(due - skipped):
      mujoco.mj_step(self._model, self._data)
      self._steps += 1
      self._episode_steps += 1
      self._force = max(self._force, self._tip_force())
      if self._episode_steps % self._task.config.substeps == 0:
        self._judge()

  def _judge(self) -> None:
    """Ends the episode as the task would; success goes before every other."""
    config, data = self._task.config, self._data
    mujoco.mj_kinematics(self._model, data)
    force, self._force = self._force, 0.0
    if self._outcome != Outcome.RUNNING:
      return
    if self._seated():
      self._outcome = Outcome.SUCCESS
    elif force > config.force_limit or not np.isfinite(data.qpos).all():
      self._outcome = Outcome.FORCE
    elif self._pose()[_SIDE - 1] > config.drop_opening_mm * 1e-3:
      self._outcome = Outcome.DROP
    elif self._episode_steps >= config.time_limit * config.substeps:
      self._outcome = Outcome.TIME_OUT

  def _seated(self) -> bool:
    config, data = self._task.config, self._data
    socket = np.zeros(9)
    mujoco.mju_quat2Mat(socket, data.mocap_quat[0])
    socket = socket.reshape(3, 3)
    tip, up = self._tip()
    rel = socket.T @ (tip - data.mocap_pos[0])
    slack = self._task.scene.clearance + config.lateral_slack_mm * 1e-3
    tilt = np.arccos(np.clip(up @ socket[:, 2], -1.0, 1.0))
    return bool(
      -rel[2] >= config.seated_mm * 1e-3
      and np.all(np.abs(rel[:2]) <= slack)
      and tilt <= np.deg2rad(config.tilt_limit_deg)
    )

  def _tip(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tip [3] m, world, and the plug's axis [3]."""
    plug = self._task.scene.plug_body
    up = self._data.xmat[plug].reshape(3, 3)[:, 2]
    return self._data.xpos[plug] - scene_lib.PLUG_LENGTH * up, up

  def _tip_force(self) -> float:
    """Returns the force at the tip, N, that asks for the contact torques."""
    if not self._data.ncon:
      return 0.0
    jacobian = np.zeros((2, 3, self._model.nv))
    plug = self._task.scene.plug_body
    mujoco.mj_jac(self._model, self._data, *jacobian, self._tip()[0], plug)
    arm = jacobian.reshape(6, -1)[:, :6]
    wrench = np.linalg.solve(arm.T, self._data.qfrc_constraint[:6])
    return float(np.linalg.norm(wrench[:3]))

  def _pose(self) -> np.ndarray:
    return scene_lib.to_joints(self._data.qpos.copy())

  def _limited(self, target: np.ndarray) -> np.ndarray:
    """As `action.limit_command`, which dispatches to JAX at every line."""
    measured = self._pose()
    over = (np.abs(target - measured) / self._reach).reshape(-1, _SIDE)
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
