"""Attempt after attempt until the robot time is spent.

First the VLA alone, then practice, then the mean of what was learned; weights
change between attempts only. Every attempt is a line of `attempts.jsonl` as
soon as it is over, so whatever ends a run leaves what came before.
"""

from collections.abc import Callable
import dataclasses
import json
import math
import pathlib
import time
from typing import Any

from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control import stop_states
from rlt_jax.robot.control.loop import Loop
from rlt_jax.robot.control.stop_states import StopEventKind, StopState
from rlt_jax.robot.control.telemetry import EpisodeRecord, LoopStep
from rlt_jax.robot.dashboard import DashboardView
from rlt_jax.robot.episode import Attempt
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.snapshot import Snapshot

FILE = 'attempts.jsonl'
_NEWEST = 20  # attempts in the panel's success
_WAIT_S = 1.0  # between two tries to write what the disk had no room for
_NO_LABEL = ('rerecord', 'abort', 'hold')


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
  """minutes: of practice, control steps at the control rate. num_base_episodes,
  num_final_episodes: attempts of the VLA alone before it, and of the mean
  after.
  resume_after_s: after a fault, how long the arm must answer before it goes on
  by itself; None: the operator gives it back ('release')."""

  minutes: float
  num_base_episodes: int
  num_final_episodes: int
  resume_after_s: float | None = None

  def __post_init__(self):
    if not 0.0 <= self.minutes < math.inf:
      raise ValueError(f'minutes must be at least 0: {self.minutes}.')
    for name in ('num_base_episodes', 'num_final_episodes'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} must be at least 0: {getattr(self, name)}.')


class RobotRun:
  """Runs a plan. attempts: the rows so far. record: of all ticks. by_mode:
  of those of each mode; the learner is busy in 'practice' only.

  stop: set it to end after this tick; the arm holds and all is written.
  """

  def __init__(
    self,
    loop: Loop,
    pilot: EpisodeController,
    *,
    plan: RunPlan,
    folder: pathlib.Path,
    control_hz: float,
    clock: Clock,
    prepare: Callable[[str, int], None],
    newest: Callable[[int], Snapshot | None],
    tell: Callable[[], None] = lambda: None,
    vla_warmup_steps: int = 0,
  ):
    """Moves nothing.

    Args:
      loop, pilot: `loop` drives by `pilot` and calls `on_tick` after a tick.
      plan: what to run.
      folder: of the run; `attempts.jsonl` is added to.
      control_hz: control steps a second.
      clock: the loop's.
      prepare: called with the mode and number before each attempt while the
        arm holds.
      newest: the learner's snapshot that is newer than a version, or None.
      tell: called after each attempt and while something is waited for.
      vla_warmup_steps: the pilot's, for the panel.
    """
    self._loop, self._pilot, self._plan = loop, pilot, plan
    self._clock, self._hz, self._warmup = clock, control_hz, vla_warmup_steps
    self._prepare, self._newest, self._tell = prepare, newest, tell
    self._file = (folder / FILE).open('a')
    self.attempts: list[dict[str, Any]] = []
    self.record: EpisodeRecord | None = None
    self.by_mode: dict[str, EpisodeRecord] = {}
    self.snapshot: Snapshot | None = None
    self.first_update: tuple[float, int] | None = None  # s, critic steps
    self.stop, self.cause, self._waits = False, '', ''
    pilot.ask_to_stop = loop.stop

  @property
  def robot_minutes(self) -> float:
    """Of practice so far."""
    return self._pilot.practised / self._hz / 60.0

  def run(self) -> None:
    """Runs the plan, or until somebody stops it."""
    plan, done = self._plan, {'base': 0, 'evaluation': 0}
    for row in self.attempts:
      if row['mode'] in done:
        done[row['mode']] += 1
    for _ in range(plan.num_base_episodes - done['base']):
      self._attempt('base')
    while self.robot_minutes < plan.minutes and not self.stop:
      self._attempt('practice')
    for _ in range(plan.num_final_episodes - done['evaluation']):
      self._attempt('evaluation')

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def view(self, keys: tuple[str, ...] = ()) -> DashboardView:
    """Returns what a person sees now."""
    pilot = self._pilot
    rows = [x for x in self.attempts if x['mode'] == pilot.mode]
    newest = [x for x in rows[-_NEWEST:] if x['outcome'] not in _NO_LABEL]
    wins = sum(x['outcome'] == 'success' for x in newest)
    steps = sum(x['steps'] for x in newest)
    phase = pilot.mode
    if phase == 'practice' and pilot.practised < self._warmup:
      phase = 'warm-up'
    late = self.record.late if self.record else self._loop.record.late
    shot = self.snapshot
    return DashboardView(
      phase=phase or 'waiting',
      drives=pilot.drives,
      attempts=len(rows),
      success=wins / len(newest) if newest else None,
      per_10min=wins / steps * 600.0 * self._hz if steps else None,
      robot_s=pilot.practised / self._hz,
      budget_s=60.0 * self._plan.minutes,
      late_p50_s=late.quantile(0.5),
      late_p99_s=late.quantile(0.99),
      overruns=self.record.overruns if self.record else 0,
      updates_per_s=self.updates_per_s(),
      version=shot.version if shot else 0,
      age_s=time.time() - shot.written if shot else None,
      human_s=pilot.effort.human_s,
      words=self._waits or pilot.words,
      keys=keys,
    )

  def updates_per_s(self) -> float | None:
    """Returns critic updates a second of wall clock, since the first."""
    shot, first = self.snapshot, self.first_update
    if shot is None or first is None or shot.written <= first[0]:
      return None
    return (shot.critic_updates - first[1]) / (shot.written - first[0])

  def _attempt(self, mode: str) -> None:
    if self.stop or not self._runs():
      return
    pilot, loop = self._pilot, self._loop
    if mode != 'base':
      self._take_newest()
    self._prepare(mode, len(self.attempts))
    shot = self.snapshot
    pilot.begin(mode, version=shot.version if shot else 0)
    age = time.time() - shot.written if shot else None
    try:
      loop.run(self._over)
    finally:
      self._finish(age)

  def _over(self, tick: LoopStep) -> bool:
    del tick
    running = self._loop.stop_status.state is StopState.RUN
    return self._pilot.ended or self.stop or not running

  def _finish(self, age: float | None) -> None:
    cause = stop_states.describe(self._loop.stop_status)
    if self.stop and not self._pilot.ended:
      cause = 'the run was stopped'
    # Nothing recorded may be lost: it takes what it takes.
    while isinstance(attempt := self._pilot.end(cause), str):
      self._wait(attempt)
    self._waits = ''
    self._note(attempt, age)
    if self._pilot.stopped:
      self.stop, self.cause = True, attempt.cause
    self._tell()

  def _note(self, attempt: Attempt, age: float | None) -> None:
    record = self._loop.record
    if self.record is None:
      self.record = _blank_like(record)
    mode = self.by_mode.setdefault(attempt.mode, _blank_like(record))
    for total in (self.record, mode):
      total.merge(record)
    shot = self.snapshot
    row = attempt._asdict() | {
      'robot_minutes': self.robot_minutes,
      'policy_version': shot.version if shot else 0,
      'policy_age_s': age,
      'written': time.time(),
    }
    self.attempts.append(row)
    whole = row | {
      'loop': record.to_dict(),
      'chunks': self._pilot.planner.queue.record(),
    }
    print(json.dumps(whole), file=self._file, flush=True)

  def _take_newest(self) -> None:
    found = self._newest(self.snapshot.version if self.snapshot else 0)
    if found is None:
      return
    if found.critic_updates and self.first_update is None:
      self.first_update = found.written, found.critic_updates
    self.snapshot = found
    self._pilot.policy = NumpyPolicy(self._pilot.policy.spec, found.layers)

  def _runs(self) -> bool:
    """Waits until the arm may run; False if the run was stopped instead."""
    answered = None
    while self._loop.stop_status.state is not StopState.RUN:
      self._waits = stop_states.describe(self._loop.stop_status)
      tick = self._loop.step()
      self._tell()
      if self.stop or self._pilot.stopped:
        self.stop = True
        return False
      fault = not math.isfinite(float(tick.measured.sum()))
      answered = None if fault else answered or tick.time
      after = self._plan.resume_after_s
      auto = after is not None and answered and tick.time - answered >= after
      if self._pilot.hears_release() or auto:
        self._loop.post(stop_states.StopEvent(StopEventKind.RESUME))
    self._waits = ''
    return not self.stop

  def _wait(self, why: str) -> None:
    self._waits = why
    self._tell()
    self._clock.sleep_until(self._clock.now() + _WAIT_S)


def _blank_like(record: EpisodeRecord) -> EpisodeRecord:
  return EpisodeRecord(len(record.changed['RANGE']))
