"""Runs episode after episode until the planned practice time is over.

First the VLA alone, then practice, then the mean of the learned actor. Weights
change between episodes only. While the arm is stopped, the run keeps calling
the loop and obeys the operator.
"""

from collections.abc import Callable
import dataclasses
import math
import time
from typing import Any

import numpy as np

from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control import stop_states
from rlt_jax.robot.control.loop import Loop
from rlt_jax.robot.control.stop_states import (
  StopEvent,
  StopEventKind,
  StopState,
)
from rlt_jax.robot.control.telemetry import EpisodeRecord, LoopStep
from rlt_jax.robot.dashboard import DashboardView
from rlt_jax.robot.episode import EpisodeResult
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.episode_operator import EpisodeOperator
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.policy_updates import PolicyUpdates
from rlt_jax.robot.run_results import RunResults

_NEWEST = 20  # episodes in the success rate of the dashboard
_LAST_ANSWERS_S = 2.0  # for the VLA, when the run is asked to stop
_STOPPED = 'the run was stopped'  # cause of an episode; it is run again


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
  """Length of a run.

  minutes: of practice, in control steps at the control rate.
  num_base_episodes: episodes of the VLA alone, before practice.
  num_final_episodes: episodes of the actor without noise, after practice.
  resume_after_s: time that the arm must answer after a fault before it runs
  again automatically; None: the operator releases it.
  """

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
  """Runs a plan.

  results: of its episodes. updates: the learner's weights. operator: the one
  it obeys. stop: set it to end the run after this control step; the arm then
  holds and everything is written. cause: why the run ended early, or ''.
  """

  def __init__(
    self,
    loop: Loop,
    controller: EpisodeController,
    operator: EpisodeOperator,
    *,
    plan: RunPlan,
    results: RunResults,
    updates: PolicyUpdates,
    control_hz: float,
    clock: Clock,
    prepare: Callable[[str, int], None],
    notify: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = print,
    revive: Callable[[], str] = lambda: '',
  ):
    """Moves nothing.

    Args:
      loop: its driver is the controller.
      controller: of the episodes.
      operator: the controller's.
      plan: what to run.
      results: where episodes are added.
      updates: where newer weights come from.
      control_hz: control steps a second.
      clock: the loop's.
      prepare: called before an episode, while the arm holds, with its mode and
        its number among the episodes of this mode, from 0.
      notify: called after each episode and each control step of a wait.
      say: prints a line for the operator.
      revive: starts again what ended when the arm was stopped, the watchdog,
        before the arm runs again; returns '' or why it cannot.
    """
    self._loop, self._controller, self.operator = loop, controller, operator
    self._plan, self.results, self.updates = plan, results, updates
    self._clock, self._control_hz = clock, control_hz
    self._prepare, self._notify = prepare, notify
    self._say, self._revive = say, revive
    self.stop, self.cause = False, ''
    self._waiting_for = ''

  @property
  def robot_minutes(self) -> float:
    """Minutes of practice so far."""
    steps = self._controller.progress.practice_steps
    return steps / self._control_hz / 60.0

  def run(self) -> None:
    """Runs what is left of the plan, or until it is stopped."""
    plan = self._plan
    while self._count('base') < plan.num_base_episodes and not self.stop:
      self._run_episode('base')
    while self.robot_minutes < plan.minutes and not self.stop:
      self._run_episode('practice')
    while self._count('evaluation') < plan.num_final_episodes and not self.stop:
      self._run_episode('evaluation')

  def view(self, keys: tuple[str, ...] = ()) -> DashboardView:
    """Returns what the dashboard shows now; `keys` are its help lines."""
    controller, progress = self._controller, self._controller.progress
    results, updates = self.results, self.updates
    rows = [x for x in results.episodes if x['mode'] == progress.mode]
    newest = [x for x in rows[-_NEWEST:] if x['outcome'].counted]
    wins = sum(x['outcome'] is EpisodeOutcome.SUCCESS for x in newest)
    steps = sum(x['steps'] for x in newest)
    phase = 'warm-up' if controller.chunk_policy.in_warmup else progress.mode
    record = results.record or self._loop.record
    message = self._waiting_for or controller.message
    return DashboardView(
      phase=phase or 'waiting',
      arm=_describe_state(self._loop.stop_status),
      driver=controller.active_driver,
      num_episodes=len(rows),
      success=wins / len(newest) if newest else None,
      per_10min=wins / steps * 600.0 * self._control_hz if steps else None,
      robot_s=60.0 * self.robot_minutes,
      budget_s=60.0 * self._plan.minutes,
      late_p50_s=record.late.quantile(0.5),
      late_p99_s=record.late.quantile(0.99),
      overruns=results.record.overruns if results.record else 0,
      updates_per_s=updates.updates_per_s(),
      version=updates.version,
      age_s=updates.age_s(),
      human_s=self.operator.effort.human_s,
      message=message or stop_states.describe(self._loop.stop_status),
      keys=keys,
    )

  def _run_episode(self, mode: str) -> None:
    if self.stop or not self._wait_until_released():
      return
    policy = None if mode == 'base' else self.updates.take_newest()
    words = self.updates.fault or self.updates.notice
    if mode != 'base' and words:
      self._say(words)
    self._prepare(mode, self._count(mode))
    self._controller.begin(
      mode,
      policy=policy,
      version=self.updates.version,
      number=len(self.results.episodes),
    )
    age_s, cause = self.updates.age_s(), None
    try:
      record = self._loop.run(self._is_over)
      cause = self._cause_of_end()
      self._wait_for_label()
    except BaseException:
      record = self._loop.record if cause is None else record
      self._finish_episode(record, age_s, cause, step=False)
      raise
    self._finish_episode(record, age_s, cause)

  def _count(self, mode: str) -> int:
    """Returns the episodes of a mode that need not be repeated.

    A stop has cut the others short, or the operator has discarded them.
    """
    return sum(
      x['mode'] == mode
      and x['cause'] != _STOPPED
      and x['outcome'] != EpisodeOutcome.RERECORD
      for x in self.results.episodes
    )

  def _is_over(self, step: LoopStep) -> bool:
    del step
    return self._controller.ended or self.stop or self._loop.stopped

  def _cause_of_end(self) -> str:
    if self._loop.stopped:
      return stop_states.describe(self._loop.stop_status)
    if self._controller.ended:
      return ''
    return _STOPPED if self.stop else self._controller.message

  def _wait_for_label(self) -> None:
    """Waits for the label of a stopped episode, until the arm is released.

    Its file is learned from as soon as it is closed.
    """
    operator = self.operator
    if self._loop.stopped and operator.hears_label and not operator.lost:
      self._loop.begin()  # steps of the wait are not part of the episode
      self._wait_until_released(or_labeled=True)

  def _finish_episode(
    self,
    record: EpisodeRecord,
    age_s: float | None,
    cause: str | None,
    *,
    step: bool = True,
  ) -> None:
    """Waits until all of the episode is written, with control steps or not.

    Args:
      record: of the loop in the episode.
      age_s: of the policy that drove, s.
      cause: of the end; None: not known yet.
      step: run control steps meanwhile.
    """
    began = self._clock.now()
    cause = self._cause_of_end() if cause is None else cause

    def end() -> EpisodeResult | str:
      give_up = self._gives_up(began, step)
      return self._controller.end(cause, give_up=give_up)

    # Nothing recorded may be lost, so this waits for VLA and disk.
    self._add_result(self._complete(end, record, step), record, age_s)
    self._complete(self.results.flush, record, step)
    if self.operator.lost:
      self.stop = True
      self.cause = self.cause or cause or self.operator.lost
    self._notify()

  def _complete(
    self, attempt: Callable[[], Any], record: EpisodeRecord, step: bool
  ) -> Any:
    """Returns what an attempt returns, once it is not why to wait."""
    while isinstance(found := attempt(), str) and found:
      self._waiting_for = found
      if not step:
        self._clock.sleep_until(self._clock.now() + 1.0 / self._control_hz)
        continue
      if self._loop.record is record:
        self._loop.begin()  # steps of the wait are not part of the episode
      self._step_between_episodes()
    if self._waiting_for and step:
      self._loop.finish()  # the watchdog heard the steps and expects more
    self._waiting_for = ''
    return found

  def _add_result(
    self, result: EpisodeResult, record: EpisodeRecord, age_s: float | None
  ) -> None:
    if result.mode == 'practice':
      self._say_lost(result)
    self.results.add(
      result,
      record,
      chunks=self._controller.scheduler.buffer.statistics(),
      robot_minutes=self.robot_minutes,
      practice_steps=self._controller.progress.practice_steps,
      policy_version=self.updates.version,
      policy_age_s=age_s,
      written=time.time(),
    )

  def _say_lost(self, result: EpisodeResult) -> None:
    """Says what of an episode the learner must do without."""
    lost = self._controller.recorder.lost
    if not lost and result.missing_queries and result.outcome.row_end:
      lost = (
        f'has {result.missing_queries} observations that the VLA never '
        'answered: steps that need them are not learned'
      )
    if lost:
      about = f'{result.outcome}, {result.steps} steps'
      self._say(f'Episode {len(self.results.episodes)} ({about}) {lost}.')

  def _gives_up(self, began: float, step: bool) -> bool:
    """Returns whether to wait no longer for the VLA, since `began`, s."""
    ends = self.stop or not step
    return ends and self._clock.now() - began >= _LAST_ANSWERS_S

  def _wait_until_released(self, *, or_labeled: bool = False) -> bool:
    """Waits while the arm is stopped; returns False if the run ended instead.

    The operator may stow or disable the arm, clear a stop, and release the
    arm. A fault may also end by itself, see `RunPlan.resume_after_s`.

    Args:
      or_labeled: wait no longer than until the episode has a label.
    """
    answers_since = None  # s, since when the arm has answered
    fault = ''
    while self._loop.stopped and not self.stop:
      if or_labeled and not self.operator.hears_label:
        break
      text = _describe(self._loop.stop_status)
      self._waiting_for = f'{text}. {fault}' if fault else text
      step = self._step_between_episodes()
      if not np.isfinite(step.measured).all():
        answers_since = None
      elif answers_since is None:
        answers_since = step.time
      if self._may_resume(step.time, answers_since):
        if not (fault := self._revive()):
          self._loop.post(StopEvent(StopEventKind.RESUME))
        answers_since = None
      status = self._loop.stop_status
      if status.state is StopState.DISABLE and status.done:
        # Power comes back by connecting only, which needs a new preflight.
        self.stop, self.cause = True, stop_states.describe(status)
    if self.stop and self._loop.stopped:
      self._leave_stopped()
    elif self._waiting_for:
      self._loop.finish()  # the watchdog heard the steps and expects more
    self._waiting_for = ''
    return not self.stop

  def _may_resume(self, now: float, answers_since: float | None) -> bool:
    status, after = self._loop.stop_status, self._plan.resume_after_s
    if after is None or answers_since is None or status.manual:
      return False
    return status.state is StopState.HOLD and now - answers_since >= after

  def _step_between_episodes(self) -> LoopStep:
    """Runs one control step without driving, and obeys the operator."""
    for event in self.operator.poll_stopped(stopped=self._loop.stopped):
      if event.kind is StopEventKind.RESUME and (fault := self._revive()):
        self._say(fault)
        continue
      self._loop.post(event)
    step = self._loop.step(drive=False)
    if self.operator.lost:
      # No operator could clear the stop.
      self.stop, self.cause = True, self.operator.lost
    self._notify()
    return step

  def _leave_stopped(self) -> None:
    """Leaves the arm at rest: one that is on its way to the stow pose holds."""
    if not self._loop.stop_status.done:
      self._loop.stop('the run ended')
    self._loop.finish()


def _describe_state(status: stop_states.StopStatus) -> str:
  text = status.state.value
  if status.latched:
    text += ', latched'
  return text if status.done else f'{text}, in progress'


def _describe(status: stop_states.StopStatus) -> str:
  """Returns state, cause and the answer to the last request."""
  text = stop_states.describe(status)
  return f'{text}. {status.note}' if status.note else text
