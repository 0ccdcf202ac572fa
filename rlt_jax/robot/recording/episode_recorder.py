"""Records episodes to the journal while they run.

The steps of a recording follow each other without a pause, so a hold ends a
recording and the next command begins another, in the same file: the outcome of
an episode holds for all of them. VLA queries that were not answered in time are
retried while the arm holds, and once more before the file is closed.
"""

from concurrent import futures
import dataclasses
import threading
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from rlt_jax.robot.recording import episodes, pictures
from rlt_jax.robot.recording.segments import observed_steps, Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.schema import Reply
from rlt_jax.types import Features

_RETRYING = 'The VLA must answer what it was asked before the hold'
_CLOSING = 'The episode must be on the disk.'


class RecordedStep(NamedTuple):
  """Stamp of a query.

  recording: counted by the recorder through all episodes. step: in it. episode:
  of the run. index: of the recording in its episode.
  """

  recording: int
  step: int
  episode: int = 0
  index: int = 0

  @property
  def key(self) -> pictures.Key:
    """Where the journal has the step."""
    return pictures.Key(self.episode, self.index, self.step)


@dataclasses.dataclass
class _Recording:
  """The recording that runs or comes next, or one before.

  number: counts recordings. index: in its episode. num_steps: executed so far.
  queried, answered: steps with a query, with an answer. first: newest answer
  before the first step. held: a hold has ended it.
  """

  number: int
  index: int
  num_steps: int = 0
  queried: set[int] = dataclasses.field(default_factory=set)
  answered: set[int] = dataclasses.field(default_factory=set)
  first: tuple[VlaQuery, Reply] | None = None
  held: bool = False


class EpisodeRecorder:
  """Writes one episode after another.

  late_queries: steps whose query was answered during a hold. missing_queries:
  steps whose query was never answered. Both since the start of the run. lost:
  what the learner must do without of the last episode, or ''.
  """

  def __init__(
    self,
    bundle: BundleSpec,
    write_buffer: WriteBuffer,
    vla_queries: VlaQueries,
    executor: futures.Executor,
    *,
    timeout_s: float,
  ):
    """Writes nothing yet.

    Args:
      bundle: with the chunk size, the delay, the stride and the normalization.
      write_buffer: of the journal.
      vla_queries: which are retried.
      executor: one thread, for the retries and the end of a file.
      timeout_s: for the retries of a hold, all of them together.
    """
    self._bundle = bundle
    self._write_buffer, self._vla_queries = write_buffer, vla_queries
    self._executor, self._timeout_s = executor, timeout_s
    # waited: control steps, before the first one of the episode.
    self._meta: dict[str, Any] = {'episode': 0, 'waited': 0}
    self._now = _Recording(1, 0)
    self._before: list[_Recording] = []  # of this episode, and not yet closed
    self._task: futures.Future | None = None
    self._give_up = threading.Event()
    self._retried = self._closing = False  # at the end of the episode
    self.late_queries = self.missing_queries = 0
    self.lost = ''

  def begin(self, *, episode: int = 0, **meta: Any) -> None:
    """Starts an episode, numbered in the run; `meta` is for its file too."""
    self._meta = {'episode': episode, 'waited': 0} | meta

  @property
  def num_steps(self) -> int:
    """Control steps in the present recording."""
    return self._now.num_steps

  @property
  def active(self) -> bool:
    """Whether a recording runs: it has steps and no hold has ended it."""
    return self._now.num_steps > 0 and not self._now.held

  @property
  def retrying(self) -> bool:
    """Whether queries of the steps before a hold are asked again now."""
    task = self._task
    return self._now.held and task is not None and not task.done()

  def needs_query(self) -> bool:
    """Returns whether the present step must be observed and is not yet."""
    step = self._now.num_steps
    due = step % self._bundle.replay_stride == 0
    return due and step not in self._now.queried

  def stamp_query(self) -> RecordedStep | None:
    """Returns the stamp of a query in the present step, which it notes.

    None while a recording waits to be completed: the query is of no step.
    """
    now = self._now
    if now.held:
      return None
    now.queried.add(now.num_steps)
    return self._stamp(now, now.num_steps)

  def on_reply(self, query: VlaQuery, reply: Reply) -> None:
    """Records an answer to a query of this recording, once for each step."""
    now, stamp = self._now, query.stamp
    if stamp is None or stamp.recording != now.number or now.held:
      return
    if not now.num_steps:
      now.first = query, reply  # nothing moved since: the newest counts
    elif stamp.step not in now.answered:
      self._write(now, query, reply, late=False)

  def step(self, step: Step) -> None:
    """Records an executed step; the first one begins a recording."""
    now = self._now
    if not now.num_steps:
      if not self._before:
        self._write_buffer.begin(**self._meta)
      self._before.append(now)
      if now.first is not None:
        self._write(now, *now.first, late=False)
    self._write_buffer.step(now.index, step)
    now.num_steps += 1

  def wait(self) -> None:
    """Counts a control step that waits for a chunk, so that no kill loses it.

    One that no step of the episode follows is not on the disk.
    """
    if self._before:
      self._write_buffer.wait()
    else:
      self._meta['waited'] += 1

  def hold(self) -> None:
    """Ends the recording, because the arm holds, and retries its queries."""
    if self.active:
      self._now.held = True
      self._start_retry()

  def resume(self, *, give_up: bool) -> str:
    """Makes room for the next recording.

    Args:
      give_up: do not wait for a VLA that does not answer; its queries are
        retried at the next hold.

    Returns:
      '', or why the arm must wait; then call again.
    """
    if not self._now.held:
      return ''
    if not self._is_idle(give_up=give_up):
      return f'{_RETRYING}: {self._vla_queries.cause()}.'
    if self._unanswered() and not give_up:
      self._start_retry()
      return f'{_RETRYING}: {self._vla_queries.cause()}.'
    if not self._write_buffer.flush():
      return self._write_buffer.full
    self._now = _Recording(self._now.number + 1, self._now.index + 1)
    return ''

  def end(self, outcome: str, *, give_up: bool = False) -> str:
    """Closes the file of an episode; the arm must hold.

    Args:
      outcome: an `EpisodeOutcome`.
      give_up: do not wait for the VLA any longer.

    Returns:
      '' once it is on the disk, or why it is not; then call again.
    """
    self._retried |= self.active
    self.hold()
    if not self._is_idle(give_up=give_up):
      return f'{_RETRYING}: {self._vla_queries.cause()}.'
    if self._unanswered() and not self._retried and not give_up:
      self._retried = True
      self._start_retry()
      if not self._is_idle():
        return f'{_RETRYING}: {self._vla_queries.cause()}.'
    if self._before and not self._closing:
      self._closing = True
      self._task = self._executor.submit(self._write_buffer.end, outcome)
    if not self._is_idle():
      return _CLOSING
    if not self._write_buffer.flush():
      return self._write_buffer.full
    self.lost = self._describe_loss(outcome)
    self._forget()
    return ''

  def _start_retry(self) -> None:
    self._give_up.clear()
    self._task = self._executor.submit(self._retry)

  def _is_idle(self, *, give_up: bool = False) -> bool:
    """Returns whether the executor has done its task; raises its error."""
    if give_up:
      self._give_up.set()
    task = self._task
    if task is not None and task.done():
      self._task = None
      task.result()
    return self._task is None

  def _forget(self) -> None:
    """Makes room for the next episode."""
    for _, stamp in self._unanswered():
      self._vla_queries.discard(stamp)
    self.missing_queries += sum(
      len(set(self._observed(x)) - x.answered) for x in self._before
    )
    self._now, self._before = _Recording(self._now.number + 1, 0), []
    self._closing = self._retried = False

  def _describe_loss(self, outcome: str) -> str:
    recordings = [
      # Which steps have an answer is enough.
      episodes.Recording([None] * x.num_steps, dict.fromkeys(x.answered), set())
      for x in self._before
    ]
    episode = episodes.Episode(0, 0, {}, EpisodeOutcome(outcome), recordings)
    return episodes.describe_loss(episode, self._bundle.replay_stride)

  def _stamp(self, recording: _Recording, step: int) -> RecordedStep:
    episode = self._meta['episode']
    return RecordedStep(recording.number, step, episode, recording.index)

  def _observed(self, recording: _Recording) -> range:
    return observed_steps(recording.num_steps, self._bundle.replay_stride)

  def _unanswered(self) -> list[tuple[_Recording, RecordedStep]]:
    """Returns the queries of the episode that can be retried."""
    stamps = [
      (recording, self._stamp(recording, step))
      for recording in self._before
      for step in self._observed(recording)
      if step not in recording.answered
    ]
    return [x for x in stamps if self._vla_queries.has_pending(x[1])]

  def _retry(self) -> None:
    with self._vla_queries.only_retries(self._timeout_s):
      unanswered = {stamp: recording for recording, stamp in self._unanswered()}
      for query, reply in self._vla_queries.retry(
        list(unanswered), self._timeout_s, self._give_up
      ):
        self._write(unanswered[query.stamp], query, reply, late=True)
        self.late_queries += 1

  def _write(
    self, recording: _Recording, query: VlaQuery, reply: Reply, *, late: bool
  ) -> None:
    bundle, step = self._bundle, query.stamp.step
    recording.answered.add(step)
    self._vla_queries.discard(query.stamp)
    mean, std = np.float32(bundle.proprio_mean), np.float32(bundle.proprio_std)
    features = Features(
      z_rl=reply.z_rl,
      proprio=(query.proprio - mean) / std,
      reference=reply.reference[: bundle.chunk_size + bundle.inference_delay],
      pose=query.pose,
    )
    self._write_buffer.features(recording.index, step, features, late=late)
