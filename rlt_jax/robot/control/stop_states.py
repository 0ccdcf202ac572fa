"""The stop ladder: hold, then stow, then disable, and never disable first.

An arm without power falls. So a stop of any kind means to hold under power,
and each rung below is entered by request, after the one above was reached.
`advance` is the whole of it; who owns the arm calls hold, stow or disable for
the rung while it is not `done`, and reports how that went.
"""

import dataclasses
import enum
from typing import NamedTuple

STOP_TEXT = (
  'Software stop: it is latched, the queue is empty, the arm holds under '
  'power. This is no substitute for the emergency button: press that whenever '
  'a person or a part is in danger.'
)
_NO_POWER = 'the arm has no power: connect it again'


class StopState(enum.Enum):
  """Where the ladder stands; RUN is above it."""

  RUN = 'run'
  HOLD = 'hold'
  STOW = 'stow'
  DISABLE = 'disable'


class Kind(enum.Enum):
  """What may happen.

  STOP: the software stop; latches. FAULT: the arm or its guard cannot go on.
  HOLD, STOW, DISABLE, RESUME, CLEAR: a person asks; CLEAR ends the latch and
  moves nothing. DONE, WAIT, FAILED: how the rung's call went; WAIT is "not yet
  there".
  """

  STOP = 'stop'
  FAULT = 'fault'
  HOLD = 'hold'
  STOW = 'stow'
  DISABLE = 'disable'
  RESUME = 'resume'
  CLEAR = 'clear'
  DONE = 'done'
  WAIT = 'wait'
  FAILED = 'failed'


class Event(NamedTuple):
  """kind, and the cause in words where there is one."""

  kind: Kind
  cause: str = ''


class State(NamedTuple):
  """Where the ladder stands.

  rung: now. goal: the rung that was asked for; below `rung` on the way there.
  done: the rung's call has succeeded. latched: by a software stop. cause: why
  the arm does not run. since: s, when the rung was entered. failures: of this
  rung's call in a row. note: the answer to the last request, in words.
  """

  rung: StopState = StopState.RUN
  goal: StopState = StopState.RUN
  done: bool = True
  latched: bool = False
  cause: str = ''
  since: float = 0.0
  failures: int = 0
  note: str = ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopConfig:
  """attempts: calls of stow or disable before the arm holds instead."""

  attempts: int = 3
  stow_timeout_s: float = 20.0

  def __post_init__(self):
    for name in ('attempts', 'stow_timeout_s'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')


def advance(
  state: State, event: Event, now: float, config: StopConfig | None = None
) -> State:
  """Returns the state after an event at `now`, s; pure.

  A request that must not be granted changes only `note`.
  """
  config = config or StopConfig()
  match event.kind:
    case Kind.STOP:
      cause = event.cause or 'software stop'
      state = state._replace(latched=True, cause=cause, note=STOP_TEXT)
      return _hold(state, cause, now)
    case Kind.FAULT if state.rung is StopState.RUN:
      return _hold(state, event.cause, now)
    case Kind.HOLD:
      return _hold(state, event.cause or 'asked to hold', now)
    case Kind.STOW | Kind.DISABLE:
      return _go_down(state, event, now)
    case Kind.RESUME:
      return _resume(state, now)
    case Kind.CLEAR:
      return state._replace(latched=False, note='the stop is cleared')
    case Kind.DONE if not state.done:
      state = state._replace(done=True, failures=0)
      if state.goal is not state.rung:
        return _enter(state, _BELOW[state.rung], now)
    case Kind.WAIT if now - state.since > config.stow_timeout_s:
      if state.rung is StopState.STOW and not state.done:
        cause = (
          f'stow must take at most {config.stow_timeout_s} s: '
          f'{now - state.since:.1f} s'
        )
        return _hold(state, cause, now)
    case Kind.FAILED if not state.done:
      return _failed(state, event.cause, now, config)
  return state


def words(state: State) -> str:
  """Says in one line where the ladder stands and why; '' while it runs."""
  if state.rung is StopState.RUN:
    return ''
  text = state.rung.value if state.done else f'{state.rung.value} (under way)'
  latched = ', latched' if state.latched else ''
  return f'{text}{latched}: {state.cause}'


_BELOW = {
  StopState.RUN: StopState.HOLD,
  StopState.HOLD: StopState.STOW,
  StopState.STOW: StopState.DISABLE,
}


def _enter(state: State, rung: StopState, now: float) -> State:
  return state._replace(rung=rung, done=False, since=now, failures=0)


def _hold(state: State, cause: str, now: float) -> State:
  """Holds, unless it does or there is no power to hold with."""
  if state.rung is StopState.DISABLE and state.done:
    return state._replace(note=_NO_POWER)
  state = state._replace(goal=StopState.HOLD, cause=cause)
  return (
    state
    if state.rung is StopState.HOLD
    else _enter(state, StopState.HOLD, now)
  )


def _go_down(state: State, event: Event, now: float) -> State:
  if state.rung is StopState.DISABLE:
    return state._replace(note=_NO_POWER)
  goal = StopState.STOW if event.kind is Kind.STOW else StopState.DISABLE
  cause = event.cause or f'asked to {goal.value}'
  state = state._replace(goal=goal, cause=cause, note='')
  if state.done and state.rung is not goal:
    return _enter(state, _BELOW[state.rung], now)
  return state


def _resume(state: State, now: float) -> State:
  if state.rung is StopState.RUN:
    return state
  if state.latched:
    return state._replace(note='the stop is latched: clear it first')
  if state.rung is StopState.DISABLE:
    return state._replace(note=_NO_POWER)
  if not state.done or state.goal is not state.rung:
    return state._replace(note=f'{state.rung.value} is still under way')
  return State(since=now)


def _failed(state: State, cause: str, now: float, config: StopConfig) -> State:
  failures = state.failures + 1
  cause = f'{state.rung.value} failed {failures} times: {cause}'
  if state.rung is StopState.HOLD or failures < config.attempts:
    # Below a hold that fails there is nothing safer: it is tried for ever.
    goal = StopState.HOLD if state.rung is StopState.HOLD else state.goal
    return state._replace(failures=failures, cause=cause, goal=goal)
  return _hold(state, cause, now)
