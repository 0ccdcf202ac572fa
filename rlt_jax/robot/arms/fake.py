"""A simulated arm without geometry, with faults on a schedule."""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from rlt_jax.robot.arm import ArmError, ArmSpec, Reading
from rlt_jax.robot.arms.base import BaseArm
from rlt_jax.robot.arms.faults import Fault
from rlt_jax.robot.clock import Clock


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeConfig:
  """Arguments of a station's file, as those of `FakeArm`."""

  faults: tuple[Fault, ...] = ()
  start: tuple[float, ...] | None = None
  tau_s: float = 0.05


def open_fake(spec: ArmSpec, config: FakeConfig, *, clock: Clock) -> 'FakeArm':
  """Returns a fake arm of a station's file."""
  return FakeArm(
    spec,
    clock=clock,
    faults=config.faults,
    start=config.start,
    tau_s=config.tau_s,
  )


class FakeArm(BaseArm):
  """Joints that follow their targets to first order; deterministic.

  events: (time, name) of every change between 'connect', 'command', 'hold',
  'stow', 'disable' and 'disconnect', for tests.
  """

  def __init__(
    self,
    spec: ArmSpec,
    *,
    clock: Clock,
    faults: Sequence[Fault] = (),
    start: Sequence[float] | None = None,
    tau_s: float = 0.05,
  ):
    """Starts at rest.

    Args:
      spec: the arm's file.
      clock: the loop's; a stall sleeps on it.
      faults: what fails and when.
      start: [A] the first pose; None is `spec.stow`.
      tau_s: the joints' time constant.

    Raises:
      ValueError: start has another size, or tau_s is not positive.
    """
    super().__init__(spec, clock=clock)
    if not tau_s > 0.0:
      raise ValueError(f'tau_s must be positive: {tau_s}.')
    self._position = np.array(spec.stow if start is None else start, np.float64)
    if self._position.shape != self._low.shape:
      raise ValueError(
        f'start must have the shape {self._low.shape}: {self._position.shape}.'
      )
    self._faults, self._tau = tuple(faults), tau_s
    self._target = self._position
    self._move_time = self._start_time = 0.0
    self._calls_left: list[int] = []
    self._last: Reading | None = None
    self.events: list[tuple[float, str]] = []

  def command(self, target: np.ndarray) -> np.ndarray:
    """Sends targets [A]; see `BaseArm`."""
    sent = super().command(target)
    self._log('command')
    return sent

  def hold(self) -> None:
    """Stays; see `BaseArm`."""
    super().hold()
    self._log('hold')

  def stow(self) -> bool:
    """Moves toward the stow pose; see `BaseArm`."""
    there = super().stow()
    self._log('stow')
    return there

  def _open(self) -> None:
    self._move_time = self._start_time = self._clock.now()
    self._calls_left = [f.calls if f.calls else 1 for f in self._faults]
    self._target, self._last = self._position, None
    self._log('connect')

  def _close(self) -> None:
    self._log('disconnect')

  def _read(self) -> Reading:
    self._exchange()
    if self._last is None or not self._during('frozen'):
      velocity = (self._target - self._position) / self._tau
      jump = sum(
        f.seconds
        for f in self._faults
        if f.kind == 'clock_jump' and self._elapsed_s() >= f.at_s
      )
      position = self._position.copy()
      self._last = Reading(position, velocity, self._move_time + jump)
    if self._take('nan'):
      nan = np.full_like(self._position, math.nan)
      return Reading(nan, nan.copy(), self._last.time)
    return self._last

  def _send(self, target: np.ndarray) -> np.ndarray:
    self._exchange()
    self._target = target.copy()
    return target

  def _power_off(self) -> None:
    self._exchange()
    self._target = self._position
    self._log('disable')

  def _exchange(self) -> None:
    """Simulates one packet: it may stall or be lost; the joints move."""
    stall = self._take('stall')
    if stall:
      self._clock.sleep_until(self._clock.now() + stall.seconds)
    now = self._clock.now()
    # A clock that jumps back must not move the joints backward.
    decay = math.exp(-max(now - self._move_time, 0.0) / self._tau)
    self._position = self._target + (self._position - self._target) * decay
    self._move_time = now
    if self._take('lost'):
      raise ArmError(f'The packet of {self._elapsed_s():.3f} s was lost.')

  def _elapsed_s(self) -> float:
    return self._clock.now() - self._start_time

  def _during(self, kind: str) -> bool:
    return any(
      f.kind == kind and f.at_s <= self._elapsed_s() < f.at_s + f.seconds
      for f in self._faults
    )

  def _take(self, kind: str) -> Fault | None:
    """Returns a fault of this kind that happens now, and counts it."""
    for i, fault in enumerate(self._faults):
      if (
        fault.kind == kind
        and self._calls_left[i]
        and self._elapsed_s() >= fault.at_s
      ):
        self._calls_left[i] -= 1
        return fault
    return None

  def _log(self, event: str) -> None:
    if not self.events or self.events[-1][1] != event:
      self.events.append((self._clock.now(), event))
