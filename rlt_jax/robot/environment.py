"""An arm behind the `dm_env` interface: what drives the simulator drives it.

Observations, actions, reward and discount mean what they mean in the
simulator's environment. Between `step` and `step` there is the loop with its
guard, ladder and record, so a step takes one period.
"""

from collections.abc import Callable, Mapping
import math
from typing import Any, Protocol

import dm_env
from dm_env import specs
import numpy as np

from rlt_jax.robot.arm import Arm, ArmError, Reading
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control import stop_states
from rlt_jax.robot.control.commands import Command
from rlt_jax.robot.control.loop import Loop
from rlt_jax.robot.control.stop_states import StopState
from rlt_jax.robot.control.telemetry import LoopStep

_SEEN_PREFIX = 'images/'
RUNNING, SUCCESS, FAILURE, ABORT, TIME_OUT = (
  'running',
  'success',
  'failure',
  'abort',
  'time_out',
)


class Cameras(Protocol):
  """What sees. `observe` must return at once: the newest pictures there are.

  shapes: camera name -> (height, width, 3). Cameras that take pictures on
  demand also have `trigger()`, called in the loop at the moment to show; every
  `observe` after it, maybe in another thread, shows the oldest such moment.
  """

  shapes: Mapping[str, tuple[int, int, int]]

  def observe(self) -> Mapping[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3]."""

  def age_s(self) -> float:
    """Returns the age, s, of the oldest picture of the last `observe`."""


class ArmEnvironment(dm_env.Environment):
  """An arm; `step` after the end of an episode starts the next.

  Actions: float32 [A], absolute joint targets (rad, grippers m). The guard
  limits them; what was sent is `executed`.

  Observations: 'images/<camera>' uint8 [S, S, 3] and 'proprio' float32 [P],
  positions then velocities (rad, m; per s).

  Reward is 1 at success, else 0. The discount is 0 after success or failure
  and 1 elsewhere, also where an attempt is cut short: at the time limit, by
  'abort', or when the arm had to stop.
  """

  def __init__(
    self,
    arm: Arm,
    cameras: Cameras,
    clock: Clock,
    *,
    verdict: Callable[[], str | None],
    time_limit: int,
    max_camera_age_s: float,
    prepare: Callable[[], None] | None = None,
    prompt: str = '',
    **loop: Any,
  ):
    """Moves nothing; the arm must be connected already.

    Args:
      arm: what is driven.
      cameras: what sees.
      clock: the loop's.
      verdict: asked after every step: None while the attempt goes on, else
        'success', 'failure' or 'abort'.
      time_limit: control steps of an episode.
      max_camera_age_s: older pictures make the arm hold.
      prepare: called before every episode while the arm holds, to bring arm
        and parts to their start; None leaves them where they are.
      prompt: the instruction, for a policy that reads one.
      **loop: `config`, `heartbeat` and `on_tick` of `Loop`.

    Raises:
      ValueError: time_limit or max_camera_age_s is not positive.
    """
    for name, value in (
      ('time_limit', time_limit),
      ('max_camera_age_s', max_camera_age_s),
    ):
      if not 0 < value < math.inf:
        raise ValueError(f'{name} must be positive: {value}.')
    self._arm, self._cameras, self._clock = arm, cameras, clock
    self._verdict, self._prepare = verdict, prepare
    self._time_limit, self._max_camera_age_s = time_limit, max_camera_age_s
    self._driver = _StepDriver()
    self._outcome: str | None = None  # None: no episode has begun
    self._tick: LoopStep | None = None
    self.loop = Loop(arm, self._driver, clock, **loop)
    self.prompt = prompt

  @property
  def outcome(self) -> str:
    """'running', 'success', 'failure', 'abort' or 'time_out'."""
    if self._outcome is None:
      raise ValueError('reset() must come before outcome: nothing has begun.')
    return self._outcome

  @property
  def tick(self) -> LoopStep:
    """The loop's account of the last step."""
    if self._tick is None:
      raise ValueError('step() must come before tick: nothing has begun.')
    return self._tick

  @property
  def executed(self) -> np.ndarray:
    """Joint targets [A] sent by the last step; NaN where the arm held."""
    return self.tick.executed

  def reset(self) -> dm_env.TimeStep:
    """Starts an episode.

    Raises:
      ArmError: the arm has stopped and nobody resumed it, or gives no reading.
    """
    self._outcome = None
    self.loop.finish()
    self._check_runs()
    if self._prepare is not None:
      self._prepare()
    self.loop.begin()
    self.loop.wait()
    self._steps, self._tick = 0, None
    self._reading = self.loop.read()
    observation = self._observe()
    self._outcome = RUNNING
    return dm_env.restart(observation)

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Sends one command; returns what is seen a period later.

    Raises:
      ArmError: an episode had to be started and could not.
      ValueError: the action's shape is not [A], an entry is not finite, or
        `verdict` or `cameras` gave what they must not.
    """
    if self._outcome != RUNNING:
      return self.reset()
    self._driver.wanted = self._check(action)
    self._tick = self.loop.act()
    self.loop.wait()
    try:
      self._reading = self.loop.read()
    except ArmError:
      pass  # the ladder has it; the last reading is the last there is
    observation = self._observe()
    self._steps += 1
    self._outcome = self._judge()
    if self._outcome == RUNNING:
      return dm_env.transition(0.0, observation)
    self.loop.finish()
    if self._outcome in (SUCCESS, FAILURE):
      return dm_env.termination(float(self._outcome == SUCCESS), observation)
    return dm_env.truncation(0.0, observation)

  def close(self):
    """Ends the episode: the arm holds; the next step starts another."""
    if self._outcome == RUNNING:
      self.loop.finish()
    self._outcome = None

  def action_spec(self) -> specs.BoundedArray:
    """Returns float32 [A]; its name lists the joints in order."""
    spec = self._arm.spec
    return specs.BoundedArray(
      (spec.action_dim,),
      np.float32,
      np.float32(spec.joint_low),
      np.float32(spec.joint_high),
      ','.join(spec.joint_names),
    )

  def observation_spec(self) -> Mapping[str, specs.Array]:
    """Returns the cameras' and proprioception's shapes."""
    proprio_dim = 2 * self._arm.spec.action_dim
    found = {
      _SEEN_PREFIX + name: specs.BoundedArray(
        shape, np.uint8, 0, 255, _SEEN_PREFIX + name
      )
      for name, shape in self._cameras.shapes.items()
    }
    return found | {
      'proprio': specs.Array((proprio_dim,), np.float32, 'proprio')
    }

  def reward_spec(self) -> specs.BoundedArray:
    """Returns a scalar, 0 or 1."""
    return specs.BoundedArray((), float, 0.0, 1.0, 'reward')

  def _check_runs(self) -> None:
    if self.loop.state.rung is not StopState.RUN:
      self.loop.tick()  # hears whether a person has resumed it
    if self.loop.state.rung is not StopState.RUN:
      raise ArmError(
        f'The arm must run before an episode: '
        f'{stop_states.words(self.loop.state)}.'
      )

  def _check(self, action: np.ndarray) -> Command:
    action = np.asarray(action, np.float64)
    names = self._arm.spec.joint_names
    if action.shape != (len(names),):
      raise ValueError(
        f'action must have shape ({len(names)},): {action.shape}.'
      )
    bad = [
      f'{joint} is {value}'
      for joint, value in zip(names, action, strict=True)
      if not np.isfinite(value)
    ]
    if bad:
      raise ValueError(
        f'action must be finite: {", ".join(bad)} at step {self._steps}.'
      )
    return Command(action, self._seen_at, 'policy')

  def _observe(self) -> dict[str, np.ndarray]:
    images, age_s = self._cameras.observe(), self._cameras.age_s()
    self._seen_at = min(self._reading.time, self._clock.now() - age_s)
    self._driver.blind = ''
    if not age_s <= self._max_camera_age_s:
      self._driver.blind = (
        f'Camera pictures must be at most {self._max_camera_age_s} s old: '
        f'{age_s:.3f} s.'
      )
    observation = {'proprio': _proprio(self._reading)}
    for name, shape in self._cameras.shapes.items():
      image = np.asarray(images[name])
      if image.shape != tuple(shape) or image.dtype != np.uint8:
        raise ValueError(
          f'{name} must give uint8 {tuple(shape)}: {image.dtype} {image.shape}.'
        )
      observation[_SEEN_PREFIX + name] = image
    return observation

  def _judge(self) -> str:
    said = self._verdict()
    if said not in (None, SUCCESS, FAILURE, ABORT):
      raise ValueError(
        f"verdict must be None, 'success', 'failure' or 'abort': {said!r}."
      )
    if said is not None:
      return said
    if self.loop.state.rung is not StopState.RUN:
      return ABORT
    return TIME_OUT if self._steps >= self._time_limit else RUNNING


class _StepDriver:
  """Drives by the action of `step`. blind: why it must not, in words."""

  def __init__(self):
    self.wanted: Command | None = None
    self.blind = ''

  def __call__(self, reading: Reading, now: float) -> Command | str:
    """Returns the step's command."""
    del reading, now
    if self.blind:
      return self.blind
    return self.wanted or 'A step must come before a command: there is none.'

  def clear(self) -> None:
    """Forgets it; the next step brings its own."""
    self.wanted = None


def _proprio(reading: Reading) -> np.ndarray:
  return np.concatenate([reading.position, reading.velocity]).astype(np.float32)
