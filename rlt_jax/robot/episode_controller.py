"""Drives the arm through an episode: by the VLA, the actor or the operator.

Each control step may query the VLA about the current observation. The chunk
scheduler decides which chunk drives, and the recorder writes executed steps
and answered observations to the journal. Steps that wait for a chunk are not
recorded, because no policy or operator chose their commands.
"""

from concurrent import futures

import numpy as np

from rlt_jax.robot.arm import Reading
from rlt_jax.robot.chunk_policy import ChunkPolicy
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.control.stop_states import StopEvent
from rlt_jax.robot.control.telemetry import LoopStep
from rlt_jax.robot.episode import (
  EpisodeConfig,
  EpisodeProgress,
  EpisodeResult,
  MODES,
)
from rlt_jax.robot.episode_operator import EpisodeOperator, OperatorInput
from rlt_jax.robot.operator.handover import Drive, Mode
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.policy.chunk_scheduler import ChunkScheduler
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from rlt_jax.robot.recording.episode_recorder import EpisodeRecorder
from rlt_jax.robot.recording.segments import Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer

# For the operator, where the handover says nothing itself.
_HOLD_REASONS = {
  Mode.ENDED: 'the episode has ended',
  Mode.STOPPED: 'it was stopped',
}


class EpisodeController:
  """A `Driver` of the loop; `after_step` is the loop's `on_step`.

  recorder, scheduler, chunk_policy: its parts. progress: of the episode.
  message: why the arm holds, for the operator; '' while it moves.
  """

  def __init__(
    self,
    policy: NumpyPolicy,
    *,
    vla_queries: VlaQueries,
    write_buffer: WriteBuffer,
    operator: EpisodeOperator,
    clock: Clock,
    executor: futures.Executor,
    config: EpisodeConfig,
  ):
    """Starts nothing.

    Args:
      policy: the first actor, with its bundle.
      vla_queries: cameras and VLA.
      write_buffer: of the journal.
      operator: with an open device.
      clock: the loop's.
      executor: the one of `vla_queries`.
      config: settings of the episodes.
    """
    spec = policy.spec
    self._vla_queries, self._write_buffer = vla_queries, write_buffer
    self._operator, self._clock, self._config = operator, clock, config
    self.progress = EpisodeProgress()
    self.chunk_policy = ChunkPolicy(
      policy,
      self.progress,
      vla_warmup_steps=config.vla_warmup_steps,
      seed=config.seed,
    )
    self.recorder = EpisodeRecorder(
      spec,
      write_buffer,
      vla_queries,
      executor,
      timeout_s=config.answer_timeout_s,
    )
    self.scheduler = ChunkScheduler(
      spec,
      self.chunk_policy.make_chunk,
      open_loop_steps=config.open_loop_steps,
      starved_steps=config.starved_steps,
    )
    self._reading: Reading | None = None
    self._outcome: EpisodeOutcome | None = None
    self._num_calls = 0  # of the driver in this episode
    self._queries_before = 0, 0  # late and missing, before this episode
    self.message = ''

  def begin(
    self,
    mode: str,
    *,
    policy: NumpyPolicy | None = None,
    version: int = 0,
    number: int = 0,
  ) -> None:
    """Starts an episode.

    Args:
      mode: of MODES.
      policy: the actor from now on; None keeps the one in use.
      version: of the actor, for the journal.
      number: of the episode in the run, for the journal.

    Raises:
      ValueError: an unknown mode.
    """
    if mode not in MODES:
      raise ValueError(f'mode must be one of {MODES}: {mode!r}.')
    if policy is not None:
      self.chunk_policy.policy = policy
    now = self._clock.now()
    self._operator.begin(now)
    self.progress.mode, self.progress.steps, self.message = mode, 0, ''
    self.progress.critical = self._config.start_in_critical_phase
    self._outcome, self._num_calls = None, 0
    self._queries_before = self._count_queries()
    self.scheduler.begin(now)
    self.recorder.begin(policy_version=version, episode=number)

  def __call__(self, reading: Reading, now: float) -> Command | StopEvent | str:
    """Returns the next command, a stop event, or why the arm holds."""
    self._reading = reading
    heard = self._hear_operator(reading, now)
    self._query_when_due(reading)
    self._take_answer()
    if heard.stop is not None:
      return heard.stop
    effects = heard.effects
    if effects.drive is Drive.HOLD:
      mode = self._operator.mode
      reason = _HOLD_REASONS.get(mode, mode.value)
      return effects.message or f'The arm holds: {reason}.'
    if self._vla_queries.blind and effects.drive is Drive.POLICY:
      return self._vla_queries.blind
    if self.progress.recorded:
      if busy := self._prepare_recording(reading, now, effects.drive):
        return busy
    if effects.drive is Drive.HUMAN:
      return Command(effects.command, now, CommandSource.HUMAN)
    command = self.scheduler.next(
      now, reading.position, paced=self.progress.paced
    )
    if isinstance(command, str):
      return f'{command}: {self._vla_queries.cause()}.'
    return command

  def clear(self) -> None:
    """Drops planned commands: the arm has stopped, or an episode begins."""
    self.scheduler.clear(self._clock.now())

  def after_step(self, step: LoopStep) -> None:
    """Records what was executed."""
    if not np.isfinite(step.executed).all():
      self._stop_recording()
      # The rest of a chunk was planned for an arm that moves.
      self.scheduler.drop_chunk()
      self.message = step.verdict
      return
    progress = self.progress
    progress.steps, self.message = progress.steps + progress.critical, ''
    progress.practice_steps += progress.recorded
    if step.source is CommandSource.WAIT:
      if progress.recorded:
        self.recorder.wait()
      return
    of_chunk = step.source is not CommandSource.HUMAN
    self.scheduler.step(step.time, paced=progress.paced, of_chunk=of_chunk)
    if progress.recorded:
      self.recorder.step(
        Step(step.executed, step.measured, step.source.row_source)
      )

  @property
  def ended(self) -> bool:
    """Whether the operator or the time limit has ended the episode."""
    return self._outcome is not None

  @property
  def active_driver(self) -> str:
    """The active driver: a `CommandSource`, or 'nobody'."""
    if self._operator.mode is Mode.AUTONOMOUS:
      return self.scheduler.source
    human = self._operator.mode is Mode.HUMAN
    return CommandSource.HUMAN if human else 'nobody'

  def end(
    self, cause: str = '', *, give_up: bool = False
  ) -> EpisodeResult | str:
    """Ends the episode while the arm holds.

    Args:
      cause: why it was cut short, for the record.
      give_up: do not wait for the VLA any longer.

    Returns:
      The result once all of it is on the disk, or why it is not yet there;
      then call again.
    """
    outcome = self._outcome = self._operator.settle(self._outcome)
    self._stop_recording()
    if waiting := self.recorder.end(outcome, give_up=give_up):
      return waiting
    effort = self._operator.end(outcome)
    late, missing = np.subtract(self._count_queries(), self._queries_before)
    return EpisodeResult(
      mode=self.progress.mode,
      outcome=outcome,
      steps=self.progress.steps,
      cause=cause,
      human_s=effort['human_s'],
      presses=effort['presses'],
      late_queries=int(late),
      missing_queries=int(missing),
    )

  def _hear_operator(self, reading: Reading, now: float) -> OperatorInput:
    heard = self._operator.step(
      reading, now, time_out=self.progress.steps >= self._config.time_limit
    )
    if heard.effects.clear_queue:
      self.scheduler.clear(reading.time)
    if heard.effects.entered_critical and not self.progress.critical:
      self.progress.critical = True
      self.scheduler.start_critical_phase(reading.time)
    if heard.outcome is not None:
      self._outcome = heard.outcome
    return heard

  def _prepare_recording(
    self, reading: Reading, now: float, drive: Drive
  ) -> str:
    """Returns why the arm must not move before the journal can record it."""
    if self._write_buffer.full and not self._write_buffer.flush():
      return self._write_buffer.full
    if busy := self.recorder.resume(give_up=drive is Drive.HUMAN):
      self.scheduler.reset_queries(now)
      return busy
    # A recording must begin with an observation that the VLA is asked about.
    if not self.recorder.num_steps and self.recorder.needs_query():
      self._query(reading)
    return ''

  def _query_when_due(self, reading: Reading) -> None:
    """Queries the VLA at recorded steps, and without pause before the first."""
    self._num_calls += 1
    recorder, stride = self.recorder, self.chunk_policy.spec.replay_stride
    if recorder.retrying:
      # The newest query wins: one that nobody needs would take the place of
      # those that the arm waits for.
      return
    if self.progress.recorded and recorder.active:
      due = recorder.needs_query()
    else:
      due = self._num_calls % stride == 1 or stride == 1
      due = due or self.scheduler.query_now
    if due:
      self._query(reading)
    self.scheduler.query_now = False

  def _query(self, reading: Reading) -> None:
    proprio = np.concatenate([reading.position, reading.velocity])
    stamp = self.recorder.stamp_query() if self.progress.recorded else None
    self._vla_queries.query(
      VlaQuery(
        stamp=stamp,
        query_time=reading.time,
        obs_time=reading.time,
        pose=np.array(reading.position, np.float64),
        proprio=proprio.astype(np.float32),
        num_steps=self.scheduler.num_steps,
      )
    )

  def _take_answer(self) -> None:
    answer = self._vla_queries.newest()
    if answer is None:
      return
    if self.progress.recorded:
      self.recorder.on_reply(answer.stamp, answer.reply)
    self.scheduler.on_reply(
      answer.stamp, answer.reply, paced=self.progress.paced
    )

  def _stop_recording(self) -> None:
    """Ends the recording at a hold, with an observation of the last pose."""
    recorder = self.recorder
    recorded = self.progress.recorded and recorder.active
    if recorded and recorder.needs_query():
      self._query(self._reading)
    recorder.hold()

  def _count_queries(self) -> tuple[int, int]:
    return self.recorder.late_queries, self.recorder.missing_queries
