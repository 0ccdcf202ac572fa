"""The handover between policy and operator, as a state machine.

    AUTONOMOUS --takeover--> ALIGNING --aligned--> HUMAN
        ^                       ^  |                 |
        |                 takeover release        release
        |                       |  v                 |
        +----- release_s ----- RELEASING <-----------+

A label, abort or rerecord leads to ENDED, from where `begin` starts the next
episode, as do stow and disable; a stop leads to STOPPED, from where only
`reset` leads out. An episode begins in ALIGNING if the operator has taken over
already.
"""

from collections.abc import Sequence
import enum
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.operator import alignment
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.events import Event, Kind


class Mode(enum.Enum):
  """HandoverState of the handover; see the module's picture."""

  AUTONOMOUS = 'autonomous'
  ALIGNING = 'aligning'
  HUMAN = 'human'
  RELEASING = 'releasing'
  ENDED = 'ended'
  STOPPED = 'stopped'


class Drive(enum.Enum):
  """Where the command of a control step comes from."""

  POLICY = 'policy'
  HUMAN = 'human'
  HOLD = 'hold'


_RUNNING = (Mode.AUTONOMOUS, Mode.ALIGNING, Mode.HUMAN, Mode.RELEASING)
_ENDS = (Kind.SUCCESS, Kind.FAILURE, Kind.ABORT, Kind.RERECORD)
_STOPS = (Kind.STOW, Kind.DISABLE)
# Not debounced. Of takeover and release the last one counts, so that a bouncing
# contact ends where it settles; of the stops, the first.
_NEVER_BOUNCE = (Kind.STOP, *_STOPS, Kind.TAKEOVER, Kind.RELEASE)


class HandoverState(NamedTuple):
  """HandoverState of the handover; `HandoverState()` is ENDED.

  critical: the critical phase has begun. outcome: the event that ended the last
  episode, None while one runs and before the first. mode_time, episode_time:
  s, when the mode and the episode began. aligned_since: s; None: not aligned.
  target: [A] of a relative device. event_times: s, of the last event of each
  kind.
  """

  mode: Mode = Mode.ENDED
  critical: bool = False
  outcome: Kind | None = None
  mode_time: float = 0.0
  episode_time: float = 0.0
  aligned_since: float | None = None
  target: np.ndarray | None = None
  event_times: dict[Kind, float] = {}


class Effects(NamedTuple):
  """What the loop does in this control step.

  drive: where the command comes from. command: [A] the operator's, only with
  Drive.HUMAN. clear_queue: drop every action chunk, also one that is still
  computed, because it was planned for another moment. entered_critical: in
  this step. ended: the outcome, in the step that ends the episode; else None.
  stopped: the stop began in this step. message: for the operator; may be
  empty. accepted: events that had an effect. ignored: the others, each with
  the reason.
  """

  drive: Drive
  command: np.ndarray | None = None
  clear_queue: bool = False
  entered_critical: bool = False
  ended: Kind | None = None
  stopped: bool = False
  message: str = ''
  accepted: tuple[Event, ...] = ()
  ignored: tuple[tuple[Event, str], ...] = ()


def begin(
  state: HandoverState, *, now: float, taken_over: bool = False
) -> HandoverState:
  """Starts an episode before its critical phase.

  The buffer of action chunks must be empty.

  Args:
    state: of the episode before.
    now: s.
    taken_over: the operator drives from the start; otherwise the policy does.

  Raises:
    ValueError: an episode runs, or the arm is stopped.
  """
  if state.mode is not Mode.ENDED:
    raise ValueError(
      f'An episode must begin from {Mode.ENDED.value}: {state.mode.value}.'
    )
  return HandoverState(
    Mode.ALIGNING if taken_over else Mode.AUTONOMOUS,
    mode_time=now,
    episode_time=now,
    event_times=state.event_times,
  )


def reset(state: HandoverState, *, now: float) -> HandoverState:
  """Ends a stop; nothing moves before `begin`.

  Raises:
    ValueError: the arm is not stopped.
  """
  if state.mode is not Mode.STOPPED:
    raise ValueError(f'Only a stop can be reset: {state.mode.value}.')
  return _enter(state, Mode.ENDED, now)


def label_stopped(
  state: HandoverState, label: Event, config: HandoverConfig
) -> tuple[HandoverState, str]:
  """Returns the state and why a label is ignored, or '' if it counts.

  The label ends an episode that was stopped before: no `advance` hears it.
  """
  last, state = _note(state, label)
  return state, _bounces(label, last, config) or _early(state, label, config)


def advance(
  state: HandoverState,
  events: Sequence[Event],
  *,
  arm_pose: np.ndarray,
  human_pose: np.ndarray | None,
  now: float,
  config: HandoverConfig,
  human_delta: np.ndarray | None = None,
) -> tuple[HandoverState, Effects]:
  """Advances by one control step; a pure function.

  Args:
    state: of the control step before.
    events: since then, from any device.
    arm_pose: [A] measured.
    human_pose: [A] absolute target of the teleoperator; None if it has none.
    now: s, by the clock of the events.
    config: tolerances and times.
    human_delta: [A] change of the target by a relative device, which needs no
      alignment.

  Returns:
    The state, and what the loop does in this step. An operator's command is
    within keep_tolerance of the arm, the first one within align_tolerance.

  Raises:
    ValueError: a pose of another shape, or both a pose and a delta.
  """
  if human_pose is not None and human_delta is not None:
    raise ValueError('A teleoperator must give either a pose or a delta.')
  for name, pose in (
    ('arm_pose', arm_pose),
    ('human_pose', human_pose),
    ('human_delta', human_delta),
  ):
    if pose is not None and np.shape(pose) != (len(config.joint_names),):
      raise ValueError(
        f'{name} must have an entry per joint, {len(config.joint_names)}: '
        f'{np.shape(pose)}.'
      )
  old, accepted, ignored = state, [], []
  for event in sorted(events, key=lambda event: event.time):
    state, why = _handle(state, event, now, config)
    if why:
      ignored.append((event, why))
    else:
      accepted.append(event)
  drive, command, message = Drive.HOLD, None, ''
  if state.mode is Mode.RELEASING and now - state.mode_time >= config.release_s:
    state = _enter(state, Mode.AUTONOMOUS, now)
  if state.mode is Mode.AUTONOMOUS:
    drive = Drive.POLICY
  elif state.mode in (Mode.ALIGNING, Mode.HUMAN):
    state, command, message = _follow(
      state, arm_pose, human_pose, human_delta, now, config
    )
    drive = Drive.HOLD if command is None else Drive.HUMAN
  # A takeover and its end may fall into one step; then the modes are equal.
  changed = any(e.kind is not Kind.ENTER_CRITICAL for e in accepted)
  return state, Effects(
    drive=drive,
    command=command,
    clear_queue=changed or old.mode is not state.mode,
    entered_critical=state.critical and not old.critical,
    ended=state.outcome if old.mode in _RUNNING else None,
    stopped=state.mode is Mode.STOPPED and old.mode is not Mode.STOPPED,
    message=message,
    accepted=tuple(accepted),
    ignored=tuple(ignored),
  )


def _enter(
  state: HandoverState, mode: Mode, now: float, **changes
) -> HandoverState:
  return state._replace(
    mode=mode, mode_time=now, aligned_since=None, target=None, **changes
  )


def _handle(
  state: HandoverState, event: Event, now: float, config: HandoverConfig
) -> tuple[HandoverState, str]:
  """Returns the state after one event, and why it was ignored, or ''."""
  kind, mode = event.kind, state.mode
  last, state = _note(state, event)
  if mode is Mode.STOPPED:
    return state, 'the arm is stopped: clear the stop first'
  if kind is Kind.STOP:
    outcome = kind if mode in _RUNNING else state.outcome
    return _enter(state, Mode.STOPPED, now, outcome=outcome), ''
  if kind in _STOPS:
    outcome = kind if mode in _RUNNING else state.outcome
    return _enter(state, Mode.ENDED, now, outcome=outcome), ''
  if kind is Kind.CLEAR:
    return state, 'there is no stop to clear'
  if why := _bounces(event, last, config):
    return state, why
  if mode is Mode.ENDED:
    return state, 'no episode runs'
  if kind in _ENDS:
    if why := _early(state, event, config):
      return state, why
    return _enter(state, Mode.ENDED, now, outcome=kind), ''
  if kind is Kind.ENTER_CRITICAL:
    if state.critical:
      return state, 'the critical phase has begun already'
    return state._replace(critical=True), ''
  driving = mode in (Mode.ALIGNING, Mode.HUMAN)
  if kind is Kind.TAKEOVER:
    if driving:
      return state, 'already taken over'
    return _enter(state, Mode.ALIGNING, now), ''
  if not driving:
    return state, 'not taken over'
  return _enter(state, Mode.RELEASING, now), ''


def _note(
  state: HandoverState, event: Event
) -> tuple[float | None, HandoverState]:
  """Returns when the last event of this kind was, s, and the state with it."""
  last, times = state.event_times.get(event.kind), state.event_times
  return last, state._replace(event_times=times | {event.kind: event.time})


def _bounces(event: Event, last: float | None, config: HandoverConfig) -> str:
  if event.kind in _NEVER_BOUNCE or last is None:
    return ''
  return 'bounce' if 0.0 <= event.time - last < config.debounce_s else ''


def _early(state: HandoverState, event: Event, config: HandoverConfig) -> str:
  """Returns that a label is meant for the episode before, or ''."""
  early = event.time - state.episode_time < config.label_grace_s
  if early and event.kind in (Kind.SUCCESS, Kind.FAILURE):
    return 'too soon for a label: the episode has just begun'
  return ''


def _follow(
  state: HandoverState,
  arm_pose: np.ndarray,
  human_pose: np.ndarray | None,
  human_delta: np.ndarray | None,
  now: float,
  config: HandoverConfig,
) -> tuple[HandoverState, np.ndarray | None, str]:
  """Returns the state, the operator's command or None to hold, and words."""
  driving = state.mode is Mode.HUMAN
  relative = human_delta is not None
  if relative:
    command, message = alignment.relative_command(
      state.target, human_delta, arm_pose, config=config
    )
  else:
    command, message = alignment.absolute_command(
      human_pose, arm_pose, driving=driving, config=config
    )
  if command is None:
    if driving:
      return _enter(state, Mode.ALIGNING, now), None, message
    return state._replace(aligned_since=None), None, message
  if not driving and not relative:
    if state.aligned_since is None:
      state = state._replace(aligned_since=now)
    if now - state.aligned_since < config.align_s:
      return state, None, 'Aligned: keep still.'
  if not driving:
    state = _enter(state, Mode.HUMAN, now)
  target = command if relative else None
  return state._replace(target=target), command, message
