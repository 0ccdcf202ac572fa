"""A gamepad's buttons, by pygame."""

import os

from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator.events import ButtonMap, DeviceError, Event, Kind

# The numbers of an Xbox pad under SDL; `python -m pygame.examples.joystick`
# prints those of another. The left shoulder drives while it is held. DISABLE
# has no button: the power should not depend on a slip of the thumb.
BUTTONS = ButtonMap(
  down={
    0: Kind.SUCCESS,  # A
    1: Kind.STOP,  # B
    2: Kind.RERECORD,  # X
    3: Kind.FAILURE,  # Y
    4: Kind.TAKEOVER,  # left shoulder
    5: Kind.ENTER_CRITICAL,  # right shoulder
    6: Kind.ABORT,  # back
    7: Kind.CLEAR,  # start
    8: Kind.STOW,  # guide
  },
  up={4: Kind.RELEASE},
)
_ENVIRONMENT = {
  'SDL_VIDEODRIVER': 'dummy',  # a robot's computer may have no screen
  # Without these SDL gives no events while another window is in front, and
  # intercepts the SIGTERM that should end the loop.
  'SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS': '1',
  'SDL_NO_SIGNAL_HANDLERS': '1',
  'PYGAME_HIDE_SUPPORT_PROMPT': '1',
}


class Gamepad:
  """Gives events of the buttons of one gamepad."""

  name = 'gamepad'

  def __init__(
    self,
    buttons: ButtonMap = BUTTONS,
    *,
    index: int = 0,
    clock: Clock | None = None,
  ):
    """Takes the map and the index among the connected gamepads."""
    self._buttons = buttons
    self._index = index
    self._clock = clock or MonotonicClock()
    self._pygame = None
    self._pad = None

  @property
  def kinds(self) -> set[Kind]:
    """The kinds of the events that it can give."""
    return self._buttons.kinds

  def open(self) -> None:
    """Opens the gamepad; SDL settings of the environment have priority.

    Raises:
      DeviceError: the package or the gamepad is missing, the gamepad lacks a
        button of the map, or SDL cannot be started.
    """
    for name, value in _ENVIRONMENT.items():
      os.environ.setdefault(name, value)
    try:
      import pygame
    except ImportError:
      raise DeviceError(
        "A gamepad needs the package pygame: pip install 'pygame>=2.6'."
      ) from None
    self._pygame = pygame
    try:
      pygame.display.init()  # SDL delivers events only with a display
      pygame.joystick.init()
    except pygame.error as error:
      self.close()
      raise DeviceError(f'SDL cannot be started: {error}.') from error
    count = pygame.joystick.get_count()
    if not 0 <= self._index < count:
      self.close()
      raise DeviceError(
        f'The gamepad must be one of the {count} connected: {self._index}.'
      )
    self._pad = pygame.joystick.Joystick(self._index)
    own = self._pad.get_numbuttons()
    missing = sorted(self._buttons.buttons - set(range(own)))
    if missing:
      name = self._pad.get_name()
      self.close()
      raise DeviceError(
        f'The buttons of {name} must be 0 to {own - 1}: {missing}.'
      )

  def poll(self) -> list[Event]:
    """Returns the events since the last call.

    Raises:
      DeviceError: the gamepad is not open, or was switched off.
    """
    if self._pad is None:
      raise DeviceError('The gamepad must be opened before it is polled.')
    pygame, own = self._pygame, self._pad.get_instance_id()
    events, now = [], self._clock.now()
    for record in pygame.event.get():
      if getattr(record, 'instance_id', None) != own:
        continue
      if record.type == pygame.JOYDEVICEREMOVED:
        raise DeviceError('The gamepad is gone.')
      if record.type in (pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP):
        events += self._buttons.events(
          record.button,
          record.type == pygame.JOYBUTTONDOWN,
          time=now,
          device=self.name,
        )
    return events

  def close(self) -> None:
    """Closes the gamepad."""
    pygame, self._pygame, self._pad = self._pygame, None, None
    if pygame is not None:
      pygame.joystick.quit()
      pygame.display.quit()
