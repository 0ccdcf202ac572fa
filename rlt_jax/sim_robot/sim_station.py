"""The twin as a station: its arm, its cameras, and an operator who knows.

The operator says what the poses say, as a person beside the arm would.
"""

from collections.abc import Iterable
import contextlib
import dataclasses
import pathlib

import jax

from rlt_jax.robot import arm as arm_lib
from rlt_jax.robot import arms, lock
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import StateOperator
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.sim_robot.sim_arm import SimArm
from rlt_jax.sim_robot.sim_cameras import SimCameras
from rlt_jax.tasks.ethernet.config import Outcome, TaskConfig
from rlt_jax.training.config import PracticeConfig

_MAX_CAMERA_AGE_S = 0.5
_PAUSES = 100  # the twin's own time limit must never come before the pilot's
_SAYS = {
  Outcome.SUCCESS: (Kind.SUCCESS,),
  Outcome.FORCE: (Kind.FAILURE,),
  Outcome.DROP: (Kind.FAILURE,),
}


def say(outcome: int) -> Iterable[Kind]:
  """Returns what an operator says when the twin's outcome is this."""
  return _SAYS.get(outcome, ())


class Starts:
  """Puts the twin into the next start: the same for base and evaluation."""

  def __init__(self, twin: SimArm, seed: int, eval_seed: int | None = None):
    """Takes the seed of practice's starts, and of the evaluations'."""
    if eval_seed is None:
      eval_seed = PracticeConfig().eval_seed
    self._twin = twin
    self._keys = {
      'practice': jax.random.PRNGKey(seed),
      'base': jax.random.PRNGKey(eval_seed),
      'evaluation': jax.random.PRNGKey(eval_seed),
    }
    self._counts = dict.fromkeys(self._keys, 0)

  def __call__(self, mode: str, number: int) -> None:
    """Places arm, plug and socket for an episode of this mode."""
    del number
    count, self._counts[mode] = self._counts[mode], self._counts[mode] + 1
    self._twin.episode(jax.random.fold_in(self._keys[mode], count))


def build(
  clock: Clock,
  stack: contextlib.ExitStack,
  *,
  bundle: str,
  vla: str,
  seed: int,
  task: TaskConfig | None = None,
) -> RobotSetup:
  """Builds it as `workcell.build` builds a station.

  Args:
    clock: the loop's, which the physics follows.
    stack: closes it all.
    bundle: folder.
    vla: address of the server.
    seed: of practice's starts.
    task: None is the default task.

  Raises:
    ValueError: no bundle is named.
    LockedError: another loop of this host drives the simulated arm.
  """
  if not bundle:
    raise ValueError('bundle must name a folder for the simulated station.')
  task = task or TaskConfig()
  spec = arm_lib.load_spec(
    pathlib.Path(arms.__file__).parent / 'specs' / 'sim.json'
  )
  stack.enter_context(lock.lock_arm(spec.name))
  patient = dataclasses.replace(task, time_limit=_PAUSES * task.time_limit)
  twin = SimArm(spec, patient, clock=clock)
  twin.connect()
  eyes = SimCameras(twin, clock=clock)
  stack.callback(eyes.close)
  return RobotSetup(
    arm=twin,
    cameras=eyes,
    operator=StateOperator(say, twin.outcome, clock=clock),
    handover=HandoverConfig.for_arm(
      spec,
      align_tolerance=spec.max_step,
      keep_tolerance=spec.max_step,
      # This operator neither bounces nor labels late.
      debounce_s=0.0,
      label_grace_s=0.0,
    ),
    prepare=Starts(twin, seed),
    bundle=bundle,
    vla=vla,
    time_limit=task.time_limit,
    start_in_critical_phase=True,
    max_camera_age_s=_MAX_CAMERA_AGE_S,
    frozen_camera_timeout_s=None,  # rays are without noise
    stow_after_hold_s=None,
    disable_after_stow_s=None,
    watchdog=None,  # it would need an arm that outlives this process
  )
