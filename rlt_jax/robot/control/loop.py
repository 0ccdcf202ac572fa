"""The 50 Hz loop: read the arm, ask who drives, guard, send, record.

Deadlines lie on a grid that starts with the episode. One that passes while
the loop is busy is counted as an overrun and left out: two commands in a row
to catch up would be one command of twice the speed.
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
  """When the loop gives up and waits for a person.

  fault_ticks: ticks in a row in which the arm raised `ArmError`. hold_ticks:
  ticks in a row in which the guard found nothing to send.
  """

  period_s: float = 0.02
  fault_ticks: int = 3
  hold_ticks: int = 50
  ladder: StopConfig = StopConfig()

  def __post_init__(self):
    for name in ('period_s', 'fault_ticks', 'hold_ticks'):
      if not 0 < getattr(self, name) < math.inf:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')


class Loop:
  """Runs an arm. `post` and `stop` may be called from any thread."""

  def __init__(
    self,
    arm: Arm,
    driver: Driver,
    clock: Clock,
    *,
    config: LoopConfig | None = None,
    heartbeat: Heartbeat | None = None,
    on_tick: Callable[[LoopStep], None] | None = None,
  ):
    """Moves nothing and opens nothing: the arm must be connected already.

    Args:
      arm: what is driven.
      driver: who drives.
      clock: the loop's time; the arm's readings must be stamped by it.
      config: None is `LoopConfig()`.
      heartbeat: the watchdog, or None: then nothing outlives this process.
      on_tick: gets every tick, after it.

    Raises:
      ValueError: the arm's file has a chain that the guard cannot use.
    """
    safety_limits.check(arm.spec)
    self._arm, self._driver, self._clock = arm, driver, clock
    self._config = config or LoopConfig()
    self._heartbeat, self._on_tick = heartbeat, on_tick
    self._events: collections.deque[StopEvent] = collections.deque()
    self._io_s = 0.0
    self.stop_status = stop_states.StopStatus()
    self.begin()

  def post(self, event: StopEvent) -> None:
    """Gives the ladder an event, before the next command is sent."""
    self._events.append(event)

  def stop(self, cause: str = '') -> None:
    """Stops by software: latches, and is no substitute for the button."""
    self.post(StopEvent(StopEventKind.STOP, cause))

  def begin(self) -> EpisodeRecord:
    """Starts an episode: an empty queue, a new grid and a new record."""
    self.record = EpisodeRecord(self._arm.spec.action_dim)
    self._restart()
    self._origin: float | None = None  # s, of the first tick's deadline
    self._index, self._late_s = -1, 0.0
    return self.record

  def run(self, until: Callable[[LoopStep], bool]) -> EpisodeRecord:
    """Runs an episode until `until` is true of a tick; then the arm holds.

    Whatever else ends it (Ctrl-C, a driver's exception), the arm is asked to
    hold before that goes on, and `record` has every tick so far.
    """
    self.begin()
    try:
      while not until(self.tick()):
        pass
    except BaseException:
      self._abandon()
      raise
    self.finish()
    return self.record

  def tick(self) -> LoopStep:
    """Waits for the next deadline and acts."""
    self.wait()
    return self.act()

  def wait(self) -> None:
    """Sleeps until the next deadline that has not passed yet."""
    period = self._config.period_s
    now = self._clock.now()
    self._origin = now if self._origin is None else self._origin
    ahead = (self._origin - now) / period + self._index + 1
    if ahead > 1.001:  # a deadline is never further away than a period
      self.record.jumps += 1
      self._origin, self._index, ahead = now, -1, 0.0
    missed = max(0, math.ceil(-ahead - 1e-6))
    self.record.overruns += missed
    self._index += 1 + missed
    deadline = self._origin + self._index * period
    self._clock.sleep_until(deadline)
    self._late_s = max(0.0, self._clock.now() - deadline)

  def act(self) -> LoopStep:
    """Reads, drives or goes down the ladder, and records, without waiting."""
    tick = blank_step(
      self._clock.now(), self._late_s, self._arm.spec.action_dim
    )
    self._io_s = 0.0
    self._listen()
    try:
      reading = self._timed(self._arm.observe)
      tick = tick._replace(measured=np.array(reading.position, np.float64))
      if self.stop_status.state is StopState.RUN:
        tick = self._drive(tick, reading)
      self._faults = 0
    except ArmError as error:
      tick = tick._replace(verdict=str(error))
      self._previous = None
      self._faults += 1
      if self._faults >= self._config.fault_ticks:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))
    if self.stop_status.state is not StopState.RUN:
      self._descend()
      tick = tick._replace(verdict=stop_states.describe(self.stop_status))
    tick = tick._replace(io_s=self._io_s)
    self.record.add(tick)
    if self._on_tick is not None:
      self._on_tick(tick)
    return tick

  def finish(self) -> None:
    """Ends an episode: the arm holds, and until `begin` no tick is due.

    Where hold fails, the watchdog is not told: silence makes it hold.
    """
    self._listen()
    if self.stop_status.state is StopState.RUN:
      try:
        self._hold()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))
    if self.stop_status.state is not StopState.RUN:
      self._descend()
    if self._heartbeat is not None and self.stop_status.done:
      try:
        self._heartbeat.rest()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))

  def _drive(self, tick: LoopStep, reading: Reading) -> LoopStep:
    wanted = self._driver(reading, self._clock.now())
    if isinstance(wanted, str):
      self._listen()
      if self.stop_status.state is StopState.RUN:
        self._hold()
      return tick._replace(verdict=wanted)
    now = self._clock.now()
    guarded = safety_limits.limit(
      self._arm.spec,
      wanted.command,
      reading=reading,
      previous=self._previous,
      now=now,
      made=wanted.made,
      period_s=self._config.period_s,
    )
    tick = tick._replace(
      source=wanted.source,
      wanted=np.array(wanted.command, np.float64),
      inference_age_s=now - wanted.made,
      changed=guarded.changed,
      verdict=guarded.verdict,
    )
    self._listen()  # a stop, or the watchdog's, while the driver thought
    if self.stop_status.state is not StopState.RUN:
      return tick
    if guarded.command is None:
      self._holds += 1
      if self._holds >= self._config.hold_ticks:
        self._advance(StopEvent(StopEventKind.FAULT, guarded.verdict))
      else:
        self._hold()
      return tick
    executed = self._timed(self._arm.command, guarded.command)
    executed = np.array(executed, np.float64)
    if executed.shape != tick.wanted.shape:
      raise ArmError(
        f'command must return [{len(tick.wanted)}] numbers: {executed.shape}.'
      )
    self._previous, self._held, self._holds = executed, False, 0
    return tick._replace(executed=executed)

  def _descend(self) -> None:
    """Does what the ladder's rung asks for, once."""
    if self.stop_status.done:
      return
    call = getattr(
      self._arm, self.stop_status.state.value
    )  # hold, stow or disable
    try:
      there = self._timed(call) is not False
      self._advance(
        StopEvent(StopEventKind.DONE if there else StopEventKind.WAIT)
      )
    except ArmError as error:
      self._advance(StopEvent(StopEventKind.FAILED, str(error)))

  def _hold(self) -> None:
    """Holds; asked twice, an arm that gives way would creep."""
    if not self._held:
      self._timed(self._arm.hold)
    self._held, self._previous = True, None

  def _listen(self) -> None:
    """Takes what other threads posted, and tells the watchdog of itself."""
    while self._events:
      self._advance(self._events.popleft())
    if self._heartbeat is not None:
      try:
        self._heartbeat.beat()
      except ArmError as error:
        self._advance(StopEvent(StopEventKind.FAULT, str(error)))

  def _advance(self, event: StopEvent) -> None:
    before = self.stop_status.state
    self.stop_status = stop_states.advance(
      self.stop_status, event, self._clock.now(), self._config.ladder
    )
    if event.kind is StopEventKind.STOP or (before is StopState.RUN) != (
      self.stop_status.state is StopState.RUN
    ):
      self._restart()

  def _restart(self) -> None:
    """Forgets plans and counts that belong to what came before."""
    self._driver.clear()
    self._previous: np.ndarray | None = None
    self._held, self._faults, self._holds = False, 0, 0

  def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
    start = self._clock.now()
    try:
      return call(*args)
    finally:
      self._io_s += self._clock.now() - start

  def _abandon(self) -> None:
    """Asks for hold on the way out; what led here matters more than this."""
    if self.stop_status.state is StopState.DISABLE and self.stop_status.done:
      return  # some arms would take power again to hold
    for _ in range(_LAST_TRIES):
      try:
        self._arm.hold()
        return
      except Exception:
        continue
