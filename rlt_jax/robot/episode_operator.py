"""Reads the operator's events in an episode and while the arm is stopped."""

from typing import NamedTuple

from rlt_jax.robot.arm import Reading
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control.stop_states import StopEvent, StopEventKind
from rlt_jax.robot.operator import handover
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.effort import Effort
from rlt_jax.robot.operator.events import Device, DeviceError, Event, Kind
from rlt_jax.robot.operator.feedback import Feedback
from rlt_jax.robot.operator.handover import Drive, Effects, Mode
from rlt_jax.robot.operator.takeovers import Takeovers
from rlt_jax.robot.outcomes import EpisodeOutcome

_TIMER = 'time limit'  # the device of the event that ends a long episode
_LET_GO = (
  'The {} was let go: the arm stays stopped. To let it run, press it again and '
  'let it go.'
)
_OUTCOMES = {
  Kind.SUCCESS: EpisodeOutcome.SUCCESS,
  Kind.FAILURE: EpisodeOutcome.FAILURE,
  Kind.ABORT: EpisodeOutcome.ABORT,
  Kind.RERECORD: EpisodeOutcome.RERECORD,
}
_LABELS = {outcome: kind for kind, outcome in _OUTCOMES.items()}
_STOP_EVENTS = {
  Kind.STOP: StopEventKind.STOP,
  Kind.STOW: StopEventKind.STOW,
  Kind.DISABLE: StopEventKind.DISABLE,
}
_STOPPED_EVENTS = _STOP_EVENTS | {
  Kind.CLEAR: StopEventKind.CLEAR,
  Kind.RELEASE: StopEventKind.RESUME,
}


class OperatorInput(NamedTuple):
  """The operator's input of one control step.

  effects: of the handover. outcome: in the step that ends the episode, else
  None. stop: what the operator asks of the stop states, or None.
  """

  effects: Effects
  outcome: EpisodeOutcome | None
  stop: StopEvent | None


class EpisodeOperator:
  """Polls the operator's device.

  device: must be open. effort: the operator's so far. lost: why the device is
  lost, or ''. hears_label: an episode runs or was stopped, and has no label.
  heard_outcome: its label if that was heard after the stop, or None. feedback:
  what the operator is told.
  """

  def __init__(
    self,
    device: Device,
    handover_config: HandoverConfig,
    *,
    clock: Clock,
    period_s: float,
  ):
    """Polls nothing yet; `period_s` is the control period."""
    self.device, self._handover_config = device, handover_config
    self._clock, self._period_s = clock, period_s
    self._handover = handover.HandoverState()
    self._last_time = 0.0  # s, of the last control step
    self._takeovers = Takeovers()
    self.effort = Effort()
    self.lost = ''
    self.heard_outcome: EpisodeOutcome | None = None
    self.hears_label = False
    self._later: list[Event] = []  # labels of the step of a stop, after it
    self._label: Kind | None = None  # of the last episode
    self.feedback = Feedback()

  @property
  def mode(self) -> Mode:
    """Of the handover."""
    return self._handover.mode

  def begin(self, now: float) -> None:
    """Starts an episode at `now`, s.

    It begins taken over if a takeover is held, or was asked for since the
    episode before: a person who drives, or wants to, must not be overruled.
    """
    self._handover = handover.begin(
      self._handover, now=now, taken_over=self._takeovers.begin()
    )
    self._last_time, self._label = now, None
    self.heard_outcome, self.hears_label, self._later = None, True, []

  def step(
    self, reading: Reading, now: float, *, time_out: bool
  ) -> OperatorInput:
    """Returns the input of one control step of an episode.

    Args:
      reading: the newest one of the arm.
      now: s.
      time_out: the time limit has passed; ends the episode.
    """
    events = self._without_later(self._poll())
    if time_out:  # after what the operator says in the same step
      last = max([now, *(event.time for event in events)])
      events = [*events, Event(Kind.ABORT, last, _TIMER)]
    human = {'human_pose': None}
    if hasattr(self.device, 'pose'):
      human['human_pose'] = self.device.pose()
      human['human_delta'] = self.device.delta(reading.position, self._period_s)
    self._handover, effects = handover.advance(
      self._handover,
      events,
      arm_pose=reading.position,
      now=now,
      config=self._handover_config,
      **human,
    )
    for event, why in effects.ignored:
      if event.device != _TIMER:
        self.feedback.ignored(event, why)
    elapsed_s = max(now - self._last_time, 0.0)
    presses = tuple(x for x in effects.accepted if x.device != _TIMER)
    self.effort.step(
      self._handover.mode, effects._replace(accepted=presses), elapsed_s
    )
    self._last_time = now
    stops = [x for x in effects.accepted if x.kind in _STOP_EVENTS]
    outcome = _outcome(effects)
    if outcome not in (None, EpisodeOutcome.HOLD):
      self.hears_label, self._label = False, effects.ended
    return OperatorInput(
      effects,
      outcome,
      self._stop_event(stops[-1]) if stops else None,
    )

  def poll_stopped(self, *, stopped: bool = True) -> list[StopEvent]:
    """Returns what the operator asks for while no episode runs.

    CLEAR ends the latch of a stop, RELEASE lets the arm run again; of a button
    that is held see `Takeovers`. The first label is kept for the episode that
    was stopped, see `settle`.

    Args:
      stopped: the arm is stopped.
    """
    stop_events = []
    self._hear_later()
    for event in self._poll():
      if event.kind in _OUTCOMES:
        self._hear_label(event)
      if event.kind is Kind.ENTER_CRITICAL:
        self.feedback.ignored(event, 'no episode runs')
      starts = self._takeovers.hear_between(event, stopped)
      if event.kind is Kind.RELEASE and not starts:
        if stopped:
          self.feedback.say(_LET_GO.format(event.device))
        continue
      if event.kind is Kind.CLEAR and self.mode is Mode.STOPPED:
        self._handover = handover.reset(self._handover, now=self._clock.now())
      if event.kind in _STOPPED_EVENTS:
        self._takeovers.forget_presses()
        stop_events.append(self._stop_event(event))
    self._takeovers.polled(stopped)
    return stop_events

  def settle(self, outcome: EpisodeOutcome | None) -> EpisodeOutcome:
    """Returns how the episode ended; no label is heard from here on.

    Args:
      outcome: heard while it ran; with None or HOLD a label that was heard
        after the stop counts.
    """
    self._hear_later()
    heard, self.heard_outcome = self.heard_outcome, None
    self.hears_label = False
    if outcome in (None, EpisodeOutcome.HOLD):
      return heard or EpisodeOutcome.HOLD
    return outcome

  def end(self, outcome: EpisodeOutcome) -> dict[str, float]:
    """Ends the episode; returns the effort, see `Effort.end`."""
    kind = _LABELS.get(outcome, Kind.ABORT)
    if self.mode not in (Mode.ENDED, Mode.STOPPED):
      self._handover = self._handover._replace(mode=Mode.ENDED, outcome=kind)
    return self.effort.end(kind)

  def _without_later(self, events: list[Event]) -> list[Event]:
    """Keeps labels that follow a stop for `poll_stopped`; returns the rest."""
    events = sorted(events, key=lambda event: event.time)
    at = next((i for i, x in enumerate(events) if x.kind in _STOP_EVENTS), None)
    if at is None:
      return events
    self._later = [x for x in events[at:] if x.kind in _OUTCOMES]
    rest = [x for x in events[at:] if x.kind not in _OUTCOMES]
    return [*events[:at], *rest]

  def _poll(self) -> list[Event]:
    try:
      events = self.device.poll()
    except DeviceError as error:
      # An operator who cannot be heard cannot watch over the arm.
      self.lost = str(error)
      return [Event(Kind.STOP, self._clock.now(), self.device.name)]
    self._takeovers.hear(events, lambda name: bool(self._fault(name)))
    return events

  def _hear_later(self) -> None:
    later, self._later = self._later, []
    for event in later:
      self._hear_label(event)

  def _hear_label(self, event: Event) -> None:
    if not self.hears_label:
      if event.kind is not self._label:  # else it was heard already
        self.feedback.ignored(event, 'no episode waits for a label')
      return
    self._handover, why = handover.label_stopped(
      self._handover, event, self._handover_config
    )
    if why:
      self.feedback.ignored(event, why)
    else:
      self.heard_outcome = _OUTCOMES[event.kind]
      self.hears_label, self._label = False, event.kind
      pressed = Effects(Drive.HOLD, accepted=(event,))
      self.effort.step(self.mode, pressed, 0.0)
      self.feedback.say(
        f'The episode that was stopped is labeled {event.kind.value}.'
      )

  def _fault(self, device: str) -> str:
    """Returns why a device of a group was lost, or ''; others are heard."""
    faults = getattr(self.device, 'faults', [])
    return next((x for x in faults if x.startswith(f'{device}:')), '')

  def _stop_event(self, event: Event) -> StopEvent:
    kind = _STOPPED_EVENTS[event.kind]
    if kind is StopEventKind.STOP:
      fault = self.lost or self._fault(event.device)
      return StopEvent(kind, fault or 'the operator stopped the arm')
    return StopEvent(kind, f'the operator asked to {kind.value}')


def _outcome(effects: Effects) -> EpisodeOutcome | None:
  if effects.ended is None:
    return None
  if effects.accepted and effects.accepted[-1].device == _TIMER:
    return EpisodeOutcome.TIME_OUT
  return _OUTCOMES.get(effects.ended, EpisodeOutcome.HOLD)
