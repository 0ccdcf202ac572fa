"""Events of the operator's devices, and the interfaces of the devices."""

from collections.abc import Mapping
import dataclasses
import enum
from typing import Any, NamedTuple, Protocol

import numpy as np


class Kind(enum.Enum):
  """Kinds of events; records and configs use their values.

  TAKEOVER, RELEASE: the operator starts, or ends, driving the arm.
  ENTER_CRITICAL: the critical phase begins; the actor may drive from here.
  SUCCESS, FAILURE: the label of the episode, which it ends.
  ABORT: ends the episode without a label.
  RERECORD: ends the episode; its rows must not be learned from.
  STOP: the arm holds; latched until CLEAR, and RELEASE then lets it run.
  STOW: the arm moves slowly to its stow pose. DISABLE: it stows, then its
  power is switched off.
  """

  TAKEOVER = 'takeover'
  RELEASE = 'release'
  ENTER_CRITICAL = 'enter_critical'
  SUCCESS = 'success'
  FAILURE = 'failure'
  ABORT = 'abort'
  RERECORD = 'rerecord'
  STOP = 'stop'
  CLEAR = 'clear'
  STOW = 'stow'
  DISABLE = 'disable'


class Event(NamedTuple):
  """One event.

  time: s, by the loop's clock. device: name of its device. held: an edge of a
  button that drives while it is held, see `ButtonMap`.
  """

  kind: Kind
  time: float
  device: str
  held: bool = False


class DeviceError(Exception):
  """A device cannot be opened, or was lost; the message has the reason."""


class Device(Protocol):
  """Gives events.

  open: opens the device and imports its package, which only its users need.
    Raises DeviceError.
  poll: the events since the last call, oldest first; never blocks. Raises
    DeviceError once the device is lost. The loop treats that as a stop, since
    the operator can no longer stop the arm.
  close: closes the device. Does nothing if it is not open.

  A device with a takeover that is held makes its events by `ButtonMap` or sets
  their `held`: otherwise to let go starts a stopped arm. It may have `kinds`,
  the kinds of the events that it can give; without it a group takes it for one
  that can give all.
  """

  name: str

  def open(self) -> None: ...  # noqa: D102

  def poll(self) -> list[Event]: ...  # noqa: D102

  def close(self) -> None: ...  # noqa: D102


class Teleoperator(Device, Protocol):
  """A device that also drives the arm, by pose or by delta.

  pose: the absolute joint target [A] (rad, grippers m), or None: the device
    is relative, or has nothing newer than its age limit.
  delta: the change of the joint target [A] during the next `period_s`, for an
    arm that is at `pose` [A]; None for an absolute device.
  """

  def pose(self) -> np.ndarray | None: ...  # noqa: D102

  def delta(  # noqa: D102
    self, pose: np.ndarray, period_s: float
  ) -> np.ndarray | None: ...


_HELD = {Kind.TAKEOVER, Kind.RELEASE}  # of the two edges of a button


@dataclasses.dataclass(frozen=True, kw_only=True)
class ButtonMap:
  """Which event a button gives when it is pressed and when it is released.

  A button with TAKEOVER at one edge and RELEASE at the other is held: the
  operator drives while the button is down. Its events say so, because lifting
  a foot gives the arm back and is no wish that it start. Buttons are named as
  by the device. Other buttons give no events.
  """

  down: Mapping[Any, Kind]
  up: Mapping[Any, Kind] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if not self.down and not self.up:
      raise ValueError('A button map must name at least one button.')
    for button, kind in (*self.down.items(), *self.up.items()):
      if not isinstance(kind, Kind):
        raise ValueError(
          f'A button must give one of {[k.value for k in Kind]}: '
          f'{button!r} gives {kind!r}.'
        )

  def events(
    self, button: Any, is_down: bool, *, time: float, device: str
  ) -> list[Event]:
    """Returns the event of a press or a release, or none."""
    kinds = self.down.get(button), self.up.get(button)
    kind = kinds[0] if is_down else kinds[1]
    if kind is None:
      return []
    return [Event(kind, time, device, held=set(kinds) == _HELD)]

  @property
  def kinds(self) -> set[Kind]:
    """Every kind of event that a button gives."""
    return {*self.down.values(), *self.up.values()}

  @property
  def buttons(self) -> set[Any]:
    """Every button that gives an event."""
    return set(self.down) | set(self.up)
