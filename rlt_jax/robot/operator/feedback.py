"""What the operator is told about the events that were heard."""

from collections.abc import Callable

from rlt_jax.robot.operator.events import Event

_REPEAT_S = 1.0  # a key that is held down repeats sooner


class Feedback:
  """Says lines to the operator.

  say: must not wait, since the loop calls it; says nothing until it is set.
  """

  def __init__(self):
    self.say: Callable[[str], None] = lambda text: None
    self._ignored: tuple[Event, str] | None = None  # the last one, and why

  def ignored(self, event: Event, why: str) -> None:
    """Says why an event had no effect; of a key that repeats only once."""
    last, self._ignored = self._ignored, (event, why)
    if last is not None and last[1] == why:
      same = last[0]._replace(time=event.time) == event
      if same and 0.0 <= event.time - last[0].time < _REPEAT_S:
        return
    self.say(f'Ignored {event.kind.value!r} of the {event.device}: {why}.')
