"""Several devices as one, where losing one of them stops the arm."""

from collections.abc import Sequence
import contextlib

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import Device, DeviceError, Event, Kind


class Group:
  """Opens, polls and closes devices together; a context manager.

  faults: what happened to the devices that were lost, in words.
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
      ValueError: no device, or two of the same name.
    """
    names = [device.name for device in devices]
    if not names or len(set(names)) != len(names):
      raise ValueError(f'devices must have distinct names: {names}.')
    self._devices = tuple(devices)
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
    return sorted(events, key=lambda event: event.time)

  def close(self) -> None:
    """Closes all of them, also when one of them fails to close."""
    self._stack.close()

  def __enter__(self) -> 'Group':
    self.open()
    return self

  def __exit__(self, *_):
    self.close()
