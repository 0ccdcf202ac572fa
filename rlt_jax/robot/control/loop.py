"""The 50 Hz control loop.

Each control step reads the arm, asks the driver for a command, applies the
safety limits, sends the command and records what happened. While the arm is
stopped, it works through the stop states instead.
"""

import collections
from collections.abc import Callable
import dataclasses
import math
from typing import Any

import numpy as np

from rlt_jax.robot.arm import Arm, ArmError, Reading
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control import safety_limits, stop_states
from rlt_jax.robot.control.commands import Driver
from rlt_jax.robot.control.deadlines import Deadlines
from rlt_jax.robot.control.stop_states import (
  StopConfig,
  StopEvent,
  StopEventKind,
  StopState,
)
from rlt_jax.robot.control.telemetry import blank_step, EpisodeRecord, LoopStep
from rlt_jax.robot.control.watchdog import Heartbeat

_LAST_TRIES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
  """Settings of the loop.

  period_s: control period. fault_steps: control steps in a row in which the
  arm raised `ArmError`, hold_steps: in which the safety limits left nothing to
  send; after so many the arm holds until the operator releases it. stop: of
  the stop states. velocity_from_pose: the velocity limit counts from the
  measured pose at every step, as for an arm that does not follow the commands.
  """

  period_s: float = 0.02
  fault_steps: int = 3
  hold_steps: int = 50
  stop: StopConfig = StopConfig()
  velocity_from_pose: bool = False

  def __post_init__(self):
    for name in ('period_s', 'fault_steps', 'hold_steps'):
      if not 0 < getattr(self, name) < math.inf:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')


class Loop:
  """Runs an arm. `post` and `stop` may be called from any thread.

  stop_status: of the stop states. record: of the current episode.
  """

  def __init__(
    self,
    arm: Arm,
    driver: Driver,
    clock: Clock,
    *,
    config: LoopConfig | None = None,
    heartbeat: Heartbeat | None = None,
    on_step: Callable[[LoopStep], None] | None = None,
  ):
    """Moves nothing and opens nothing: the arm must be connected already.

    Args:
      arm: the arm to drive.
      driver: gives the commands.
      clock: the loop's time; the arm's readings must be stamped by it.
      config: None is `LoopConfig()`.
      heartbeat: the watchdog; None: without one, nothing holds the arm when
        this process dies.
      on_step: called after each control step.

    Raises:
      ValueError: the arm's file has a chain that the safety limits cannot use.
    """
    safety_limits.check(arm.spec)
    self._arm, self._driver, self._clock = arm, driver, clock
    self._config = config or LoopConfig()
    self._heartbeat, self._on_step = heartbeat, on_step
    self._deadlines = Deadlines(clock, self._config.period_s)
    self._events: collections.deque[StopEvent] = collections.deque()
    self._io_s = 0.0
    self.stop_status = stop_states.StopStatus()
    self.begin()

  @property
  def stopped(self) -> bool:
    """Whether the arm is in a stop state and no command is sent."""
    return self.stop_status.state is not StopState.RUN

  def post(self, event: StopEvent) -> None:
    """Adds an event for the stop states; handled before the next command."""
    self._events.append(event)

  def stop(self, cause: str = '') -> None:
    """Stops by software; latches. No substitute for the emergency button."""
    self.post(StopEvent(StopEventKind.STOP, cause))

  def begin(self) -> EpisodeRecord:
    """Starts an episode: no planned commands, a new grid and a new record."""
    self.record = EpisodeRecord(self._arm.spec.action_dim)
    self._restart()
    self._deadlines.reset()
    return self.record

  def run(self, until: Callable[[LoopStep], bool]) -> EpisodeRecord:
    """Runs an episode until `until` is true of a step; then the arm holds.

    Any exception, such as Ctrl-C or one of the driver, first makes the arm
    hold; `record` has every step so far.
    """
    self.begin()
    try:
      while not until(self.step()):
        pass
    except BaseException:
      self._hold_before_exit()
      raise
    self.finish()
    return self.record

  def step(self, *, drive: bool = True) -> LoopStep:
    """Waits for the next deadline and runs one control step.

    Args:
      drive: False: the driver is not asked; an arm that runs holds.
    """
    wakeup = self._deadlines.wait()
    self.record.overruns += wakeup.missed
    self.record.jumps += wakeup.jumped
    step = blank_step(
      self._clock.now(), wakeup.late_s, self._arm.spec.action_dim
    )
    self._io_s = 0.0
    self._handle_events()
    try:
      reading = self._timed(self._arm.observe)
      step = step._replace(measured=np.array(reading.position, np.float64))
      if not self.stopped:
        step = self._drive(step, reading) if drive else self._pause(step)
      self._faults = 0
    except ArmError as error:
      step = step._replace(verdict=str(error))
      self._previous = None
      self._faults += 1
      if self._faults >= self._config.fault_steps:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))
    if self.stopped:
      self._advance(StopEvent(StopEventKind.TIME))
      self._call_stop_state()
      step = step._replace(verdict=stop_states.describe(self.stop_status))
    step = step._replace(io_s=self._io_s)
    self.record.add(step)
    if self._on_step is not None:
      self._on_step(step)
    return step

  def finish(self) -> None:
    """Ends an episode: the arm holds, and the watchdog expects no heartbeat.

    If the hold fails, the watchdog is not told: it hears nothing and holds.
    """
    self._handle_events()
    if not self.stopped:
      try:
        self._hold()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))
    if self.stopped:
      self._call_stop_state()
    if self._heartbeat is not None and self.stop_status.done:
      try:
        self._heartbeat.rest()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))

  def _pause(self, step: LoopStep) -> LoopStep:
    self._hold()
    return step._replace(verdict='The arm holds between two episodes.')

  def _drive(self, step: LoopStep, reading: Reading) -> LoopStep:
    answer = self._driver(reading, self._clock.now())
    if isinstance(answer, StopEvent):
      self._advance(answer)
      return step
    if isinstance(answer, str):
      self._handle_events()
      if not self.stopped:
        self._hold()
      return step._replace(verdict=answer)
    now = self._clock.now()
    safe = safety_limits.limit(
      self._arm.spec,
      answer.command,
      reading=reading,
      previous=self._previous,
      now=now,
      obs_time=answer.obs_time,
      period_s=self._config.period_s,
    )
    step = step._replace(
      source=answer.source,
      wanted=np.array(answer.command, np.float64),
      inference_age_s=now - answer.obs_time,
      changed=safe.changed,
      verdict=safe.verdict,
    )
    # A stop, or the watchdog's, may have come while the driver computed.
    self._handle_events()
    if self.stopped:
      return step
    if safe.command is None:
      self._count_hold(safe.verdict)
      return step
    return step._replace(executed=self._send(safe.command))

  def _count_hold(self, verdict: str) -> None:
    """Holds; after too many of these in a row the operator must release."""
    self._holds += 1
    if self._holds >= self._config.hold_steps:
      self._advance(StopEvent(StopEventKind.FAULT, verdict))
    else:
      self._hold()

  def _send(self, command: np.ndarray) -> np.ndarray:
    """Sends a command [A] and returns what the arm executes [A]."""
    executed = np.array(self._timed(self._arm.command, command), np.float64)
    if executed.shape != command.shape:
      raise ArmError(
        f'command must return [{len(command)}] numbers: {executed.shape}.'
      )
    self._previous, self._held, self._holds = executed, False, 0
    if self._config.velocity_from_pose:
      self._previous = None
    return executed

  def _call_stop_state(self) -> None:
    """Calls hold, stow or disable of the arm, until it is done."""
    if self.stop_status.done:
      return
    call = getattr(self._arm, self.stop_status.state.value)
    try:
      there = self._timed(call) is not False
      kind = StopEventKind.DONE if there else StopEventKind.WAIT
      self._advance(StopEvent(kind))
    except ArmError as error:
      self._advance(StopEvent(StopEventKind.FAILED, str(error)))

  def _hold(self) -> None:
    """Holds once; with repeated calls an arm that gives way would creep."""
    if not self._held:
      self._timed(self._arm.hold)
    self._held, self._previous = True, None

  def _handle_events(self) -> None:
    """Handles posted events and sends the watchdog a heartbeat."""
    while self._events:
      self._advance(self._events.popleft())
    if self._heartbeat is not None:
      try:
        self._heartbeat.beat()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))

  def _advance(self, event: StopEvent) -> None:
    stopped = self.stopped
    self.stop_status = stop_states.advance(
      self.stop_status, event, self._clock.now(), self._config.stop
    )
    if event.kind is StopEventKind.STOP or stopped != self.stopped:
      self._restart()

  def _restart(self) -> None:
    """Drops planned commands and counters of what came before."""
    self._driver.clear()
    self._previous: np.ndarray | None = None
    self._held, self._faults, self._holds = False, 0, 0

  def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
    start = self._clock.now()
    try:
      return call(*args)
    finally:
      self._io_s += self._clock.now() - start

  def _hold_before_exit(self) -> None:
    """Tries to hold; its own errors must not hide the one that led here."""
    if self.stop_status.state is StopState.DISABLE and self.stop_status.done:
      return  # some arms would take power again to hold
    for _ in range(_LAST_TRIES):
      try:
        self._arm.hold()
        return
      except Exception:
        continue
