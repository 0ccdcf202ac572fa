"""The zip tie's scene under C MuJoCo, stepped one physics step at a time.

Scene, command limit and outcomes are the same as in `task`, and it can start
from any state of that task.
"""

from typing import NamedTuple

import jax
import mujoco
import numpy as np

from rlt_jax.sim import two_arm_bench as joints_lib
from rlt_jax.sim import variation
from rlt_jax.sim.mujoco_bench import MujocoBench, quaternion
from rlt_jax.tasks import bench_opening
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.zip_tie import verdict
from rlt_jax.tasks.zip_tie.config import ZipTieConfig, ZipTieOutcome
from rlt_jax.tasks.zip_tie.scene import pawl_limit, Scene, SEGMENTS
from rlt_jax.tasks.zip_tie.state import BENDS, State
from rlt_jax.tasks.zip_tie.strap import StrapPose

_GRIPPERS = [i for i, unit in enumerate(joints_lib.JOINT_UNITS) if unit == 'm']


class _Judged(NamedTuple):
  """What the last control step was judged by.

  strap: in the head's frame. entered, caught: see `State`. force: N, the
  largest of the step.
  """

  strap: StrapPose
  entered: bool
  caught: float
  force: float


class ZipTieBench(MujocoBench):
  """A `tasks.task.Bench`."""

  def __init__(self, config: ZipTieConfig, scene: Scene):
    """The arms are at home, strap and head at their mean places in the hands.

    Args:
      config: of the task.
      scene: of the task.
    """
    super().__init__(scene.mj_model, max_reach(config))
    self._config, self._scene = config, scene
    self._spring = float(self.model.tendon_stiffness[0])
    self._grasps = np.zeros((4, 3))  # as in `State`: strap, then head
    self._variation = self._tighter = None
    self.stand(np.zeros(joints_lib.ACTION_DIM))

  def place(self, state: State) -> None:
    """Continues from a state of one world between two control steps."""
    model, data, scene = self.model, self.data, self._scene
    others = {'entered', 'variation', 'tighter'}
    get = {
      k: np.array(v, np.float64) for k, v in state.items() if k not in others
    }
    self._variation, self._tighter = state['variation'], state['tighter']
    variation.set_mujoco_gains(model, scene.mj_model, self._variation)
    bench_opening.set_mujoco(
      model, scene.mj_model, scene.opening, self._tighter
    )
    self._grasps = np.stack(
      [get[k] for k in ('strap_pos', 'strap_rot', 'head_pos', 'head_rot')]
    )
    for body, (shift, turn) in (
      (scene.strap_body, self._grasps[:2]),
      (scene.head_body, self._grasps[2:]),
    ):
      model.body_pos[body] = scene.mj_model.body_pos[body] + shift
      model.body_quat[body] = quaternion(turn)
    model.pair_friction[:, :2] = get['friction']
    self.stand(np.zeros(joints_lib.ACTION_DIM))
    data.qpos[:], data.qvel[:] = get['qpos'], get['qvel']
    data.qacc_warmstart[:] = get['warmstart']
    data.ctrl[:] = joints_lib.to_actuators(get['command'])
    self._steps = int(get['steps']) * self._config.substeps
    self._outcome = int(get['outcome'])
    mujoco.mj_kinematics(model, data)
    self._judged = _Judged(
      self.strap_in_head(),
      bool(state['entered']),
      float(get['caught']),
      float(get['force']),
    )
    self._set_pawl()

  def stand(self, joints: np.ndarray) -> None:
    """Starts an episode with the arms at rest at joints [A], rad and m."""
    self.set_joints(joints)
    self._steps, self._force = 0, 0.0
    self._judged = _Judged(self.strap_in_head(), False, 0.0, 0.0)
    self._outcome = ZipTieOutcome.RUNNING
    self._set_pawl()

  def step(self) -> None:
    """Runs one physics step; judges the episode every control period."""
    mujoco.mj_step(self.model, self.data)
    self._steps += 1
    body = self._scene.strap_body
    force = self.right_force_at(self.data.xpos[body], body)
    self._force = max(self._force, float(np.linalg.norm(force)))
    if self._steps % self._config.substeps == 0:
      self._judge()

  def outcome(self) -> int:
    """Returns the episode's `ZipTieOutcome` so far."""
    return self._outcome

  def success(self) -> bool:
    """Returns whether the strap is tight now, by poses alone.

    Whether it came through the mouth is judged once per control period.
    """
    strap = self.strap_in_head()
    return bool(verdict.tight(self._config, strap, self._judged.entered))

  def world(self) -> State:
    """Returns the state with a leading [1], as the cameras take it."""
    data = self.data
    floats = {
      'qpos': data.qpos,
      'qvel': data.qvel,
      'warmstart': data.qacc_warmstart,
      'command': joints_lib.to_joints(data.ctrl.copy()),
      'strap_pos': self._grasps[0],
      'strap_rot': self._grasps[1],
      'head_pos': self._grasps[2],
      'head_rot': self._grasps[3],
      'caught': self._judged.caught,
      'friction': self.model.pair_friction[0, 0],
      'reward': self._outcome == ZipTieOutcome.SUCCESS,
      'force': self._judged.force,
    }
    return State(
      entered=np.array([self._judged.entered]),
      steps=np.array([self._steps // self._config.substeps], np.int32),
      outcome=np.array([self._outcome], np.int32),
      **jax.tree.map(
        lambda x: np.asarray(x)[None],
        {'variation': self._variation, 'tighter': self._tighter},
      ),
      **{k: np.array([v], np.float32) for k, v in floats.items()},
    )

  def strap_in_head(self) -> StrapPose:
    """Returns the strap in the head's frame."""
    data = self.data
    strap, mid, tip, head = (
      data.body(name) for name in ('strap', 'strap_mid', 'strap_tip', 'head')
    )
    end = tip.xpos - SEGMENTS[-1] * tip.xmat.reshape(3, 3)[:, 2]
    points = np.stack([strap.xpos, mid.xpos, tip.xpos, end])
    mat = head.xmat.reshape(3, 3)
    return StrapPose(
      (points - head.xpos) @ mat,
      mat.T @ strap.xmat.reshape(3, 3),
      data.qpos[BENDS].copy(),
    )

  def force(self) -> float:
    """Returns the largest force on the strap in the last control step, N."""
    return self._judged.force

  def caught(self) -> float:
    """Returns the depth of the tip, m, that the pawl holds."""
    return self._judged.caught

  def _judge(self) -> None:
    """Sets the outcome as the task does."""
    config, data = self._config, self.data
    mujoco.mj_kinematics(self.model, data)
    force, self._force = self._force, 0.0
    strap = self.strap_in_head()
    before, entered, caught, _ = self._judged
    entered = bool(verdict.enter(config, before, strap, entered))
    caught = float(verdict.catch(config, strap, np.bool_(entered), caught))
    self._judged = _Judged(strap, entered, caught, force)
    self._set_pawl()
    if self._outcome != ZipTieOutcome.RUNNING:
      return
    if force > config.force_limit or not np.isfinite(data.qpos).all():
      self._outcome = ZipTieOutcome.FORCE_LIMIT
    elif verdict.buckled(config, strap):
      self._outcome = ZipTieOutcome.BUCKLED
    elif self.success():
      self._outcome = ZipTieOutcome.SUCCESS
    elif self.positions()[_GRIPPERS].max() > config.drop_opening_mm * 1e-3:
      self._outcome = ZipTieOutcome.DROP
    elif self._steps >= config.time_limit * config.substeps:
      self._outcome = ZipTieOutcome.TIME_OUT

  def _set_pawl(self) -> None:
    """Sets the pawl's limit and the bundle's spring, as the task's model."""
    caught = np.float64(self._judged.caught)
    self.model.tendon_range[0, 1] = pawl_limit(caught)
    self.model.tendon_stiffness[0] = self._spring * (caught > 0.0)
