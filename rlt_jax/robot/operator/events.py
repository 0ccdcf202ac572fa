"""What a person may say to the loop, whatever the device says it with."""

from collections.abc import Mapping
import dataclasses
import enum
from typing import Any, NamedTuple, Protocol

import numpy as np


class Kind(enum.Enum):
  """The one vocabulary; the values are what records and configs spell.

  TAKEOVER, RELEASE: the person wants to drive, or gives the arm back.
  ENTER_CRITICAL: the critical phase begins; the actor may drive from here.
  SUCCESS, FAILURE: the label of the attempt; ends the episode.
  ABORT: ends the episode without a label.
  RERECORD: ends the episode; its rows must not be learned from.
  STOP: the arm holds; latched until CLEAR, and RELEASE then lets it run.
  STOW: the arm moves slowly to its stow pose. DISABLE: it stows, then its
  power goes off.
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
  """One thing a person said.

  time: s, by the loop's clock. device: the name of the device that gave it.
  """

  kind: Kind
  time: float
  device: str


class DeviceError(Exception):
  """A device cannot be opened, or was lost; the text says what and why."""


class Device(Protocol):
  """Gives events.

  open: takes hold of the device; imports its package, so that only who uses
    the device needs it. Raises DeviceError.
  poll: the events since the last call, oldest first; never blocks. Raises
    DeviceError once the device is lost, which the loop treats as a stop: a
    person who cannot be heard cannot watch over an arm.
  close: gives the device back. Harmless if it is not open.
  """

  name: str

  def open(self) -> None: ...  # noqa: D102

  def poll(self) -> list[Event]: ...  # noqa: D102

  def close(self) -> None: ...  # noqa: D102


class Teleoperator(Device, Protocol):
  """A device that a person also drives the arm with: by pose or by delta.

  pose: the absolute joint target [A] (rad, grippers m), or None: the device
    is relative, or has nothing newer than its age limit.
  delta: the change of the joint target [A] during the next `period_s`, for an
    arm that is at `pose` [A]; None for an absolute device.
  """

  def pose(self) -> np.ndarray | None: ...  # noqa: D102

  def delta(  # noqa: D102
    self, pose: np.ndarray, period_s: float
  ) -> np.ndarray | None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ButtonMap:
  """Which event a button gives when it goes down, and when it comes up.

  A button in both is held: down TAKEOVER and up RELEASE drives only while a
  foot is on the pedal. Buttons are named as the device names them. A button
  in neither gives nothing.
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
    """Returns the event of one edge, or none."""
    kind = (self.down if is_down else self.up).get(button)
    return [] if kind is None else [Event(kind, time, device)]

  @property
  def buttons(self) -> set[Any]:
    """Every button that gives something."""
    return set(self.down) | set(self.up)
