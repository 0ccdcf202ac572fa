"""Takeovers between episodes: who holds a button, and whose release counts."""

from collections.abc import Callable, Iterable

from rlt_jax.robot.operator.events import Event, Kind


class Takeovers:
  """Tells buttons that are held from toggles, see `Event.held`.

  A button that is held takes over until it is let go, from one episode to the
  next. A toggle between two episodes takes over the next one.
  """

  def __init__(self):
    """Nobody has taken over."""
    self._holding: set[str] = set()  # devices
    self._asked = False  # by a toggle, since the last episode
    self._pressed: set[str] = set()  # devices held since the arm was stopped
    self._was_stopped = False  # before the events that come next

  def hear(self, events: Iterable[Event], lost: Callable[[str], bool]) -> None:
    """Notes who holds a button, at any time.

    Args:
      events: of a poll.
      lost: whether a device, by its name, is lost; it could not let go.
    """
    for event in events:
      if event.held and event.kind is Kind.TAKEOVER:
        self._holding.add(event.device)
      elif event.held and event.kind is Kind.RELEASE:
        self._holding.discard(event.device)
    self._holding = {x for x in self._holding if not lost(x)}

  def begin(self) -> bool:
    """Begins an episode; returns whether it is taken over."""
    taken_over = bool(self._holding) or self._asked
    self._asked = self._was_stopped = False
    self._pressed.clear()
    return taken_over

  def hear_between(self, event: Event, stopped: bool) -> bool:
    """Hears an event between episodes; returns whether it may start the arm.

    To let go of a button that was held does not, or the arm would start because
    a foot gets tired. The button must be pressed and let go after the stop, and
    after whatever else was asked for since.

    Args:
      event: in the order of time.
      stopped: the arm is stopped.
    """
    if not event.held:
      if event.kind in (Kind.TAKEOVER, Kind.RELEASE):
        self._asked = event.kind is Kind.TAKEOVER
      return event.kind is Kind.RELEASE
    if event.kind is Kind.TAKEOVER:
      # The first poll after a stop may hear what was pressed before it.
      if stopped and self._was_stopped:
        self._pressed.add(event.device)
      return False
    return event.device in self._pressed

  def forget_presses(self) -> None:
    """Forgets buttons that are down: something else was asked for."""
    self._pressed.clear()

  def polled(self, stopped: bool) -> None:
    """Ends a poll between episodes, in which the arm was `stopped` or not."""
    self._was_stopped = stopped
