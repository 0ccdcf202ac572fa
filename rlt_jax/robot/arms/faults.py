"""Faults of fake arms and cameras, and their times."""

import dataclasses
import math

_COUNTED = ('lost', 'nan')
_TIMED = ('stall', 'frozen', 'clock_jump')
_CAMERA = ('frozen', 'stale', 'dark')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
  """A fault of the arm from `at_s` on, counted from connect().

  kind:
    lost: the next `calls` reads and writes raise ArmError.
    nan: the next `calls` readings are NaN.
    stall: the next read or write takes `seconds`.
    frozen: for `seconds`, readings and their times do not change.
    clock_jump: from then on, the times of readings are `seconds` too late (if
      negative, too early).
  """

  kind: str
  at_s: float
  calls: int = 0
  seconds: float = 0.0

  def __post_init__(self):
    if self.kind not in _COUNTED + _TIMED:
      raise ValueError(f'kind must be one of {_COUNTED + _TIMED}: {self.kind}.')
    _check_time('at_s', self.at_s)
    if (self.calls > 0) != (self.kind in _COUNTED):
      raise ValueError(
        f'calls must be positive for {_COUNTED}, else 0: {self.calls}.'
      )
    if (self.seconds != 0.0) != (self.kind in _TIMED):
      raise ValueError(
        f'seconds must be set for {_TIMED}, else 0: {self.seconds}.'
      )
    if self.kind != 'clock_jump':
      _check_time('seconds', self.seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraFault:
  """A fault of `camera` for `seconds` from `at_s` on, since its construction.

  kind: 'frozen' repeats a picture with new times, 'stale' repeats picture and
  time, 'dark' is black.
  """

  camera: str
  kind: str
  at_s: float
  seconds: float

  def __post_init__(self):
    if self.kind not in _CAMERA:
      raise ValueError(f'kind must be one of {_CAMERA}: {self.kind}.')
    _check_time('at_s', self.at_s)
    _check_time('seconds', self.seconds)

  @property
  def end_s(self) -> float:
    """s, when the camera works again."""
    return self.at_s + self.seconds


def _check_time(name: str, value: float) -> None:
  if not (math.isfinite(value) and value >= 0.0):
    raise ValueError(f'{name} must not be negative: {value}.')
