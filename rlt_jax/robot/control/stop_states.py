"""Stop states of the arm: RUN, then HOLD, STOW and DISABLE, in that order.

An arm without power falls. Every stop therefore holds the arm under power
first, STOW is entered only after HOLD succeeded, and DISABLE only after STOW
succeeded. A stop of the operator latches: the arm runs again only after CLEAR
and then RESUME. `advance` is the transition function. The loop calls the arm's
`hold`, `stow` or `disable` while the state is not `done`, and reports the
result as an event.
"""

import dataclasses
import enum
import math
from typing import NamedTuple

STOP_TEXT = (
  'Software stop, no substitute for the emergency button: press that whenever '
  'a person or a part is in danger. To go on: clear the stop, then release.'
)
_NO_POWER = 'the arm has no power: connect it again'


class StopState(enum.Enum):
  """RUN: commands are sent. HOLD: the arm stays where it is, under power.

  STOW: it moves slowly to its stow pose and stays there, under power.
  DISABLE: its power is off.
  """

  RUN = 'run'
  HOLD = 'hold'
  STOW = 'stow'
  DISABLE = 'disable'


class StopEventKind(enum.Enum):
  """Events of the state machine.

  STOP: software stop; latches. FAULT: the arm or the safety limits cannot go
  on. STOW, DISABLE, RESUME, CLEAR: requests of the operator; CLEAR ends the
  latch and moves nothing. TIME: time has passed, see `StopConfig`. DONE, WAIT,
  FAILED: result of the state's call to the arm; WAIT: not there yet.
  """

  STOP = 'stop'
  FAULT = 'fault'
  STOW = 'stow'
  DISABLE = 'disable'
  RESUME = 'resume'
  CLEAR = 'clear'
  TIME = 'time'
  DONE = 'done'
  WAIT = 'wait'
  FAILED = 'failed'


class StopEvent(NamedTuple):
  """An event and its cause; the cause may be empty."""

  kind: StopEventKind
  cause: str = ''


class StopStatus(NamedTuple):
  """State of the machine.

  state: now. goal: the state asked for; below `state` while on the way down.
  done: the state's call to the arm has succeeded. latched: by a software
  stop. manual: only a request changes the state, time does not: the operator
  stopped the arm, or a stow failed. cause: why the arm does not run. since: s,
  when the state was entered, and when it was done. failures: failed calls in a
  row in this state. note: answer to the last request.
  """

  state: StopState = StopState.RUN
  goal: StopState = StopState.RUN
  done: bool = True
  latched: bool = False
  manual: bool = False
  cause: str = ''
  since: float = 0.0
  failures: int = 0
  note: str = ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopConfig:
  """Limits of the calls to the arm, and automatic stow and power-off.

  max_failures: consecutive failed calls of stow or disable, after which the arm
  holds. stow_timeout_s: longest time to reach the stow pose; then the arm
  holds. stow_after_hold_s: after a hold of this length the arm stows
  automatically; None: never. disable_after_stow_s: after this time in the stow
  pose its power is switched off; None: never.

  Both are None by default. A stow is a motion that no operator has requested,
  and it depends on the station whether the path to the stow pose is free and
  whether the arm rests there without power. Neither applies after a stop by the
  operator, who may rely on the arm not to move.
  """

  max_failures: int = 3
  stow_timeout_s: float = 20.0
  stow_after_hold_s: float | None = None
  disable_after_stow_s: float | None = None

  def __post_init__(self):
    for name in ('max_failures', 'stow_timeout_s'):
      if not 0 < getattr(self, name) < math.inf:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    for name in ('stow_after_hold_s', 'disable_after_stow_s'):
      value = getattr(self, name)
      if value is not None and not 0 < value < math.inf:
        raise ValueError(f'{name} must be positive or None: {value}.')


def advance(
  status: StopStatus,
  event: StopEvent,
  now: float,
  config: StopConfig | None = None,
) -> StopStatus:
  """Returns the status after an event at `now`, s; pure.

  A request that is refused changes only `note`.
  """
  config = config or StopConfig()
  match event.kind:
    case StopEventKind.STOP:
      cause = event.cause or 'software stop'
      status = status._replace(latched=True, manual=True, note=STOP_TEXT)
      return _hold(status, cause, now)
    case StopEventKind.FAULT if status.state is StopState.RUN:
      return _hold(status, event.cause, now)
    case StopEventKind.STOW | StopEventKind.DISABLE:
      return _go_down(status, event, now)
    case StopEventKind.TIME:
      return _apply_time(status, now, config)
    case StopEventKind.RESUME:
      return _resume(status, now)
    case StopEventKind.CLEAR:
      return status._replace(latched=False, note='the stop is cleared')
    case StopEventKind.DONE if not status.done:
      status = status._replace(done=True, since=now, failures=0)
      if status.goal is not status.state:
        return _set_state(status, _BELOW[status.state], now)
    case StopEventKind.WAIT if now - status.since > config.stow_timeout_s:
      if status.state is StopState.STOW and not status.done:
        cause = (
          f'stow must take at most {config.stow_timeout_s} s: '
          f'{now - status.since:.1f} s'
        )
        return _hold(status, cause, now)
    case StopEventKind.FAILED if not status.done:
      return _failed(status, event.cause, now, config)
  return status


def describe(status: StopStatus) -> str:
  """Returns state and cause in one line; '' while the arm runs."""
  if status.state is StopState.RUN:
    return ''
  text = status.state.value
  if not status.done:
    text = f'{text} (in progress)'
  latched = ', latched' if status.latched else ''
  return f'{text}{latched}: {status.cause}'


_BELOW = {
  StopState.RUN: StopState.HOLD,
  StopState.HOLD: StopState.STOW,
  StopState.STOW: StopState.DISABLE,
}


def _set_state(status: StopStatus, state: StopState, now: float) -> StopStatus:
  return status._replace(state=state, done=False, since=now, failures=0)


def _hold(status: StopStatus, cause: str, now: float) -> StopStatus:
  """Goes to HOLD; an arm without power cannot, and one that holds stays."""
  if status.state is StopState.DISABLE and status.done:
    return status._replace(note=_NO_POWER)
  status = status._replace(goal=StopState.HOLD, cause=cause)
  if status.state is StopState.HOLD:
    return status
  if status.state is not StopState.RUN:  # the way down was broken off
    status = status._replace(manual=True)
  return _set_state(status, StopState.HOLD, now)


def _go_down(status: StopStatus, event: StopEvent, now: float) -> StopStatus:
  if status.state is StopState.DISABLE:
    return status._replace(note=_NO_POWER)
  goal = StopState(event.kind.value)
  cause = event.cause or f'asked to {goal.value}'
  status = status._replace(goal=goal, manual=True, cause=cause, note='')
  if status.done and status.state is not goal:
    return _set_state(status, _BELOW[status.state], now)
  return status


def _apply_time(
  status: StopStatus, now: float, config: StopConfig
) -> StopStatus:
  if status.manual or not status.done or status.goal is not status.state:
    return status
  limits = {
    StopState.HOLD: config.stow_after_hold_s,
    StopState.STOW: config.disable_after_stow_s,
  }
  limit = limits.get(status.state)
  if limit is None or now - status.since < limit:
    return status
  goal = _BELOW[status.state]
  cause = f'{limit} s in {status.state.value}, which began with: {status.cause}'
  return _set_state(status._replace(goal=goal, cause=cause), goal, now)


def _resume(status: StopStatus, now: float) -> StopStatus:
  if status.state is StopState.RUN:
    return status
  if status.latched:
    return status._replace(note='the stop is latched: clear it first')
  if status.state is StopState.DISABLE:
    return status._replace(note=_NO_POWER)
  if not status.done or status.goal is not status.state:
    return status._replace(note=f'{status.state.value} is still in progress')
  return StopStatus(since=now)


def _failed(
  status: StopStatus, cause: str, now: float, config: StopConfig
) -> StopStatus:
  failures = status.failures + 1
  cause = f'{status.state.value} failed {failures} times: {cause}'
  holds = status.state is StopState.HOLD
  if holds or failures < config.max_failures:
    # Nothing is safer than a hold, so a hold that fails is retried forever.
    goal = StopState.HOLD if holds else status.goal
    return status._replace(failures=failures, cause=cause, goal=goal)
  return _hold(status, cause, now)
