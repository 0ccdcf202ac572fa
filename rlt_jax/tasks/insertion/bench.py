"""An insertion scene under C MuJoCo, stepped one physics step at a time.

Scene, command limit and outcomes are the same as in `task`, and it can start
from any state of that task.
"""

from typing import Any, NamedTuple

import jax
import mujoco
import numpy as np

from rlt_jax.sim import two_arm_bench as joints_lib
from rlt_jax.sim import variation
from rlt_jax.sim.mujoco_bench import matrix, MujocoBench, quaternion
from rlt_jax.tasks import bench_opening
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.insertion.config import InsertionConfig, InsertionOutcome
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.insertion.verdict import Rules, TipPose

_GRIPPER = joints_lib.JOINTS.index('right_gripper')


class _Judged(NamedTuple):
  """What the last control step was judged by.

  tip: in the socket's frame. entered: see `verdict.Rules`. driven: see
  `verdict.Drive`. force: N, the largest of the step.
  """

  tip: TipPose
  entered: np.ndarray
  driven: Any
  force: float


class InsertionBench(MujocoBench):
  """A `tasks.task.Bench`."""

  def __init__(self, config: InsertionConfig, scene: Scene, rules: Rules):
    """The arms are at home, the socket at its mean pose.

    Args:
      config: of the task.
      scene: of the task.
      rules: its verdict.
    """
    super().__init__(scene.mj_model, max_reach(config))
    self._config, self._scene, self._rules = config, scene, rules
    self._grasp = (np.zeros(3), np.zeros(3))
    self._socket_rot = np.zeros(3)
    self._variation = self._tighter = None
    self.stand(np.float64(scene.home))

  def place(self, state: State) -> None:
    """Continues from a state of one world between two control steps."""
    model, data, plug = self.model, self.data, self._scene.plug_body
    others = {'entered', 'driven', 'variation', 'tighter'}
    get = {
      k: np.array(v, np.float64) for k, v in state.items() if k not in others
    }
    self._variation, self._tighter = state['variation'], state['tighter']
    nominal = self._scene.mj_model
    variation.set_mujoco_gains(model, nominal, self._variation)
    bench_opening.set_mujoco(model, nominal, self._scene.opening, self._tighter)
    self._grasp = (get['grasp_pos'], get['grasp_rot'])
    self._socket_rot = get['socket_rot']
    home = self._scene.mj_model.body_pos[plug]
    model.body_pos[plug] = home + get['grasp_pos']
    model.body_quat[plug] = quaternion(get['grasp_rot'])
    model.pair_friction[:, :2] = get['friction']
    self.stand(joints_lib.to_joints(get['qpos']))
    data.qpos[:], data.qvel[:] = get['qpos'], get['qvel']
    data.qacc_warmstart[:] = get['warmstart']
    data.ctrl[:] = joints_lib.to_actuators(get['command'])
    self._steps = int(get['steps']) * self._config.substeps
    self._outcome = int(get['outcome'])
    data.mocap_pos[0] = get['socket_pos']
    data.mocap_quat[0] = quaternion(get['socket_rot'])
    mujoco.mj_kinematics(model, data)
    entered = np.array(state['entered'], bool)
    driven = jax.tree.map(np.asarray, state['driven'])
    self._judged = _Judged(
      self.tip_in_socket(), entered, driven, float(get['force'])
    )

  def stand(self, joints: np.ndarray) -> None:
    """Starts an episode with the arms at rest at joints [A], rad and m."""
    self.set_joints(joints)
    self._steps, self._forces = 0, []
    drive = self._rules.drive
    self._judged = _Judged(
      self.tip_in_socket(),
      self._rules.start,
      None if drive is None else drive.start,
      0.0,
    )
    self._outcome = InsertionOutcome.RUNNING

  def step(self) -> None:
    """Runs one physics step; judges the episode every control period."""
    mujoco.mj_step(self.model, self.data)
    self._steps += 1
    force = self.right_force_at(self._tip()[0], self._scene.plug_body)
    self._forces.append(force)
    if self._steps % self._config.substeps == 0:
      self._judge()

  def outcome(self) -> int:
    """Returns the episode's `InsertionOutcome` so far."""
    return self._outcome

  def success(self) -> bool:
    """Returns whether the plug is seated now, by poses alone.

    Whether it came through the mouth, and what it has driven, is judged once
    per control period.
    """
    tip = self.tip_in_socket()
    seated = self._rules.seated(self._config, tip, self._judged.entered)
    drive = self._rules.drive
    if drive is not None:
      seated = seated and drive.done(self._config, self._judged.driven)
    return bool(seated)

  def world(self) -> State:
    """Returns the state with a leading [1], as the cameras take it."""
    data = self.data
    floats = {
      'qpos': data.qpos,
      'qvel': data.qvel,
      'warmstart': data.qacc_warmstart,
      'command': joints_lib.to_joints(data.ctrl.copy()),
      'grasp_pos': self._grasp[0],
      'grasp_rot': self._grasp[1],
      'socket_pos': data.mocap_pos[0],
      'socket_rot': self._socket_rot,
      'friction': self.model.pair_friction[0, 0],
      'reward': self._outcome == InsertionOutcome.SUCCESS,
      'force': self._judged.force,
    }
    return State(
      entered=np.array([self._judged.entered]),
      driven=jax.tree.map(lambda x: np.array([x]), self._judged.driven),
      steps=np.array([self._steps // self._config.substeps], np.int32),
      outcome=np.array([self._outcome], np.int32),
      **jax.tree.map(
        lambda x: np.asarray(x)[None],
        {'variation': self._variation, 'tighter': self._tighter},
      ),
      **{k: np.array([v], np.float32) for k, v in floats.items()},
    )

  def tip_in_socket(self) -> TipPose:
    """Returns the tip's pose in the socket's frame."""
    socket = matrix(self.data.mocap_quat[0])
    tip, mat = self._tip()
    return TipPose(socket.T @ (tip - self.data.mocap_pos[0]), socket.T @ mat)

  def force(self) -> float:
    """Returns the largest force on the plug in the last control step, N."""
    return self._judged.force

  def _judge(self) -> None:
    """Sets the outcome as the task does."""
    config, data = self._config, self.data
    mujoco.mj_kinematics(self.model, data)
    forces, self._forces = np.array(self._forces), []
    force = float(np.linalg.norm(forces, axis=1).max())
    tip = self.tip_in_socket()
    before, entered, driven, _ = self._judged
    entered = np.asarray(self._rules.enter(config, before, tip, entered))
    if self._rules.drive is not None:
      driven = self._drive(tip, entered, forces.mean(axis=0))
      tip = self.tip_in_socket()
    self._judged = _Judged(tip, entered, driven, force)
    if self._outcome != InsertionOutcome.RUNNING:
      return
    if force > config.force_limit or not np.isfinite(data.qpos).all():
      self._outcome = InsertionOutcome.FORCE_LIMIT
    elif self.success():
      self._outcome = InsertionOutcome.SUCCESS
    elif self._spoiled():
      self._outcome = InsertionOutcome.SPOILED
    elif self.positions()[_GRIPPER] > config.drop_opening_mm * 1e-3:
      self._outcome = InsertionOutcome.DROP
    elif self._steps >= config.time_limit * config.substeps:
      self._outcome = InsertionOutcome.TIME_OUT

  def _drive(self, tip: TipPose, entered: np.ndarray, force: np.ndarray) -> Any:
    """Returns what the tip has driven and moves the socket with it.

    Args:
      tip: in the socket's frame. entered: see `verdict.Rules`.
      force: [3] N, of the socket on the plug, world.
    """
    drive, before, data = self._rules.drive, self._judged.driven, self.data
    axis = matrix(data.mocap_quat[0])[:, 2]
    driven = drive.advance(self._config, tip, entered, force @ axis, before)
    driven = jax.tree.map(np.asarray, driven)
    sunk = drive.sunk(self._config, driven) - drive.sunk(self._config, before)
    data.mocap_pos[0] -= sunk * axis
    return driven

  def _spoiled(self) -> bool:
    """Returns whether what the tip drives has failed."""
    drive = self._rules.drive
    return drive is not None and bool(
      drive.failed(self._config, self._judged.driven)
    )

  def _tip(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tip [3] m, world, and the plug's matrix [3, 3]."""
    plug = self._scene.plug_body
    mat = self.data.xmat[plug].reshape(3, 3)
    length = self._scene.right.tool_length
    return self.data.xpos[plug] - length * mat[:, 2], mat
