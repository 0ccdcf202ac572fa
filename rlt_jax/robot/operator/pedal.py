"""A foot pedal or any other Linux input device with keys, by evdev."""

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import ButtonMap, DeviceError, Event, Kind

# The keys that a triple pedal sends by default; the operator drives while the
# left one is down. The names are the kernel's (`evtest` prints them).
PEDALS = ButtonMap(
  down={
    'KEY_A': Kind.TAKEOVER,
    'KEY_B': Kind.ENTER_CRITICAL,
    'KEY_C': Kind.SUCCESS,
  },
  up={'KEY_A': Kind.RELEASE},
)
_UP, _DOWN = 0, 1  # 2 is the repeat of a key that is held


class Pedal:
  """Gives events of one input device, which it takes for itself."""

  name = 'pedal'

  def __init__(
    self,
    path: str,
    buttons: ButtonMap = PEDALS,
    *,
    clock: Clock | None = None,
  ):
    """Takes the device's path, preferably under /dev/input/by-id."""
    self._path = path
    self._buttons = buttons
    self._clock = clock or MonotonicClock()
    self._device = None
    self._names: dict[int, str] = {}
    self._first: list[Event] = []  # of the keys that were down at the start

  @property
  def kinds(self) -> set[Kind]:
    """The kinds of the events that it can give."""
    return self._buttons.kinds

  def open(self) -> None:
    """Opens the pedal for this process alone; others would get its keys.

    A foot that is on the pedal already takes over with the first poll.

    Raises:
      DeviceError: the package or the device is missing, reading it is not
        permitted, or it lacks a button of the map.
    """
    try:
      import evdev
    except ImportError:
      raise DeviceError(
        "A pedal needs the package evdev: pip install 'evdev>=1.9'."
      ) from None
    codes = evdev.ecodes.ecodes
    unknown = sorted(self._buttons.buttons - set(codes))
    if unknown:
      raise DeviceError(f'A button must be a key of the kernel: {unknown}.')
    self._names = {codes[name]: name for name in self._buttons.buttons}
    try:
      device = evdev.InputDevice(self._path)
    except OSError as error:
      raise DeviceError(
        f'The pedal {self._path} cannot be opened: {error}. Reading it takes '
        'membership of the group input.'
      ) from error
    own = device.capabilities().get(evdev.ecodes.EV_KEY, [])
    missing = sorted(n for code, n in self._names.items() if code not in own)
    if missing:
      device.close()
      raise DeviceError(f'The pedal {self._path} has no {missing}.')
    try:
      device.grab()
    except OSError as error:
      device.close()
      raise DeviceError(
        f'The pedal {self._path} is in use by another program: {error}.'
      ) from error
    self._device, self._key_type = device, evdev.ecodes.EV_KEY
    try:
      self._first = self._takeovers(set(device.active_keys()))
    except OSError as error:
      self.close()
      raise DeviceError(f'The pedal {self._path} is gone: {error}.') from error

  def poll(self) -> list[Event]:
    """Returns the events since the last call.

    Raises:
      DeviceError: the pedal is not open, or was pulled out.
    """
    if self._device is None:
      raise DeviceError('The pedal must be opened before it is polled.')
    events, self._first = self._first, []
    now = self._clock.now()
    try:
      while (record := self._device.read_one()) is not None:
        name = self._names.get(record.code)
        if record.type == self._key_type and record.value in (_UP, _DOWN):
          events += self._buttons.events(
            name, record.value == _DOWN, time=now, device=self.name
          )
    except OSError as error:
      raise DeviceError(f'The pedal {self._path} is gone: {error}.') from error
    return events

  def close(self) -> None:
    """Closes the pedal, which ends the grab."""
    device, self._device = self._device, None
    if device is not None:
      device.close()

  def _takeovers(self, down: set[int]) -> list[Event]:
    """Returns the takeovers of keys that are down; they send nothing now."""
    now, events = self._clock.now(), []
    for code, name in self._names.items():
      events += self._buttons.events(
        name, code in down, time=now, device=self.name
      )
    return [x for x in events if x.held and x.kind is Kind.TAKEOVER]
