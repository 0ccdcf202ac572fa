"""A simulated station: arm, cameras, and an operator.

The operator labels episodes by the true poses, as a person would by eye.
"""

from collections.abc import Iterable
import contextlib
import dataclasses
import pathlib
from typing import Any

import jax

from rlt_jax import tasks
from rlt_jax.robot import arm as arm_lib
from rlt_jax.robot import arms, lock
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import StateOperator
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.sim_robot.sim_arm import SimArm
from rlt_jax.sim_robot.sim_cameras import SimCameras
from rlt_jax.tasks.task import Outcome
from rlt_jax.training.config import PracticeConfig

_MAX_CAMERA_AGE_S = 0.5
# Extends the task's time limit, so that the controller's always comes first.
_TIME_LIMIT_FACTOR = 100


def events_for(outcome: int) -> Iterable[Kind]:
  """Returns the operator's events for an outcome of the bench."""
  if outcome == Outcome.SUCCESS:
    return (Kind.SUCCESS,)
  return (Kind.FAILURE,) if outcome > Outcome.SUCCESS else ()


class Starts:
  """Sets the start state of each episode.

  Base and evaluation episodes have the same start states.
  """

  def __init__(self, sim_arm: SimArm, seed: int, eval_seed: int | None = None):
    """Takes the seeds of the start states of practice and of evaluation."""
    if eval_seed is None:
      eval_seed = PracticeConfig().eval_seed
    self._sim_arm = sim_arm
    self._keys = {
      'practice': jax.random.PRNGKey(seed),
      'base': jax.random.PRNGKey(eval_seed),
      'evaluation': jax.random.PRNGKey(eval_seed),
    }

  def __call__(self, mode: str, number: int) -> None:
    """Starts an episode by its number among those of its mode."""
    self._sim_arm.start_episode(jax.random.fold_in(self._keys[mode], number))


def build(
  clock: Clock,
  stack: contextlib.ExitStack,
  *,
  bundle: str,
  vla: str,
  seed: int,
  task_name: str = 'ethernet',
  task_config: Any = None,
  arm_spec: str = '',
) -> RobotSetup:
  """Builds the station, as `robot_setup.build` does from a station's file.

  Args:
    clock: of the control loop; the physics follows it.
    stack: closes what is opened here.
    bundle: folder of the bundle.
    vla: address of the VLA server.
    seed: of the start states of practice.
    task_name, task_config: see `tasks.load`.
    arm_spec: the arm's file, of the task's joints; '' is that of the Ethernet
      task.

  Raises:
    ValueError: bundle is empty, or the task does not exist, has no bench or no
      cameras, or has other joints than the arm's file.
    LockedError: another control loop on this host drives the simulated arm.
  """
  if not bundle:
    raise ValueError('bundle must name a folder for the simulated station.')
  if task_config is None:
    task_config = tasks.config_class(task_name)()
  shipped = pathlib.Path(arms.__file__).parent / 'specs' / 'sim.json'
  spec = arm_lib.load_spec(arm_spec or shipped)
  limit = _TIME_LIMIT_FACTOR * task_config.time_limit
  task = tasks.load(
    task_name, dataclasses.replace(task_config, time_limit=limit)
  )
  if task.render is None:
    raise ValueError(
      f'A simulated station needs a task with cameras: {task.spec.name}.'
    )
  sim_arm = SimArm(spec, task, clock=clock)
  stack.enter_context(lock.lock_arm(spec.name))
  sim_arm.connect()
  cameras = SimCameras(
    sim_arm,
    task.spec,
    task_name=task_name,
    task_config=task_config,
    clock=clock,
  )
  stack.callback(cameras.close)
  return RobotSetup(
    arm=sim_arm,
    cameras=cameras,
    operator=StateOperator(events_for, sim_arm.outcome, clock=clock),
    handover=HandoverConfig.for_arm(
      spec,
      align_tolerance=spec.max_step,
      keep_tolerance=spec.max_step,
      # A scripted operator needs no time for bouncing keys or late labels.
      debounce_s=0.0,
      label_grace_s=0.0,
    ),
    prepare=Starts(sim_arm, seed),
    bundle=bundle,
    vla=vla,
    control_hz=float(task.spec.control_hz),
    time_limit=task_config.time_limit,
    start_in_critical_phase=True,
    max_camera_age_s=_MAX_CAMERA_AGE_S,
    frozen_camera_timeout_s=None,  # no image noise: equal images are normal
    stow_after_hold_s=None,
    disable_after_stow_s=None,
    watchdog=None,  # it needs an arm outside this process
  )
