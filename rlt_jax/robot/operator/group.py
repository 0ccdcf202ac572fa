"""Several devices as one; losing one of them stops the arm."""

from collections.abc import Sequence
import contextlib

import numpy as np

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import Device, DeviceError, Event, Kind


class Group:
  """Opens, polls and closes devices together; a context manager.

  At most one of them is a `Teleoperator`; the group then is one too.

  faults: why devices were lost.
  """

  name = 'group'

  def __init__(
    self,
    devices: Sequence[Device],
    *,
    clock: Clock | None = None,
  ):
    """Takes devices with distinct names.

    Raises:
      ValueError: no device, two of the same name, or two teleoperators.
    """
    names = [device.name for device in devices]
    if not names or len(set(names)) != len(names):
      raise ValueError(f'devices must have distinct names: {names}.')
    teleoperators = [x for x in devices if hasattr(x, 'pose')]
    if len(teleoperators) > 1:
      raise ValueError(
        'At most one device of a group may drive the arm: '
        f'{[x.name for x in teleoperators]}.'
      )
    self._devices = tuple(devices)
    self._teleoperator = teleoperators[0] if teleoperators else None
    self._clock = clock or MonotonicClock()
    self._stack = contextlib.ExitStack()
    self._lost: set[str] = set()
    self.faults: list[str] = []

  def open(self) -> None:
    """Opens all of them, or none: those already open are closed again."""
    with contextlib.ExitStack() as stack:
      for device in self._devices:
        device.open()
        stack.callback(device.close)
      self._stack = stack.pop_all()

  def poll(self) -> list[Event]:
    """Returns the events of all devices, oldest first.

    A device that is lost gives one STOP, and nothing from then on.

    Raises:
      DeviceError: a device is lost, and no other one could clear that stop.
    """
    events = []
    for device in self._devices:
      if device.name in self._lost:
        continue
      try:
        events += device.poll()
      except DeviceError as error:
        self._lost.add(device.name)
        self.faults.append(f'{device.name}: {error}')
        events.append(Event(Kind.STOP, self._clock.now(), device.name))
    rest = [x for x in self._devices if x.name not in self._lost]
    if self._lost and not any(map(_clears, rest)):
      raise DeviceError('; '.join(self.faults))
    return sorted(events, key=lambda event: event.time)

  def pose(self) -> np.ndarray | None:
    """Returns the teleoperator's pose [A]; None once it is lost."""
    return self._teleoperator.pose() if self._drives else None

  def delta(self, pose: np.ndarray, period_s: float) -> np.ndarray | None:
    """Returns the teleoperator's change [A]; None once it is lost."""
    if not self._drives:
      return None
    return self._teleoperator.delta(pose, period_s)

  def help_lines(self) -> list[str]:
    """Returns the help of the devices that have any."""
    lines = []
    for device in self._devices:
      if hasattr(device, 'help_lines'):
        lines += device.help_lines()
    return lines

  def close(self) -> None:
    """Closes all of them, also when one of them fails to close."""
    self._stack.close()

  def __enter__(self) -> 'Group':
    self.open()
    return self

  def __exit__(self, *_):
    self.close()

  @property
  def _drives(self) -> bool:
    device = self._teleoperator
    return device is not None and device.name not in self._lost


def _clears(device: Device) -> bool:
  """Returns whether a device can clear a stop, as far as it says."""
  return Kind.CLEAR in getattr(device, 'kinds', Kind)
