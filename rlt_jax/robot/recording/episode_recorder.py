"""Records episodes to the journal while they run.

The steps of a file follow each other without a pause, so a hold ends a file and
the next command begins another. VLA queries that were not answered in time are
retried while the arm holds, before the file is closed.
"""

from concurrent import futures
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from rlt_jax.robot.recording.segments import observed_steps, Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.schema import Reply
from rlt_jax.types import Features

_BUSY = 'What came before the hold must be on the disk first.'


class RecordedStep(NamedTuple):
  """Stamp of a query: the file, counted by the recorder, and the step in it."""

  file: int
  step: int


@dataclasses.dataclass
class _File:
  """The file that is open or comes next.

  number: counts files. num_steps: executed so far. queried, answered: steps
  with a query, with an answer. first: newest answer before the first step.
  held: a hold has ended it. closing: its end is being written. task: of the
  executor, which must be done first.
  """

  number: int
  num_steps: int = 0
  queried: set[int] = dataclasses.field(default_factory=set)
  answered: set[int] = dataclasses.field(default_factory=set)
  first: tuple[VlaQuery, Reply] | None = None
  held: bool = False
  closing: bool = False
  task: futures.Future | None = None


class EpisodeRecorder:
  """Writes the files of one episode after another.

  late_queries: steps whose query was answered during a hold. missing_queries:
  steps whose query was never answered. Both since the start of the run.
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
      executor: the one of `vla_queries`.
      timeout_s: for the retries of a file, all of them together.
    """
    self._bundle = bundle
    self._write_buffer, self._vla_queries = write_buffer, vla_queries
    self._executor, self._timeout_s = executor, timeout_s
    self._meta: dict[str, Any] = {}
    self._file = _File(1)
    self.late_queries = self.missing_queries = 0

  def begin(self, **meta: Any) -> None:
    """Starts an episode; `meta` is written at the beginning of its files."""
    self._meta = meta

  @property
  def num_steps(self) -> int:
    """Control steps in the present file."""
    return self._file.num_steps

  @property
  def active(self) -> bool:
    """Whether a file is open and no hold has ended it."""
    return self._file.num_steps > 0 and not self._file.held

  def needs_query(self) -> bool:
    """Returns whether the present step must be observed and is not yet."""
    step = self._file.num_steps
    due = step % self._bundle.replay_stride == 0
    return due and step not in self._file.queried

  def stamp_query(self) -> RecordedStep | None:
    """Returns the stamp of a query in the present step, which it notes.

    None while a file waits to be closed: the query is of no recorded step.
    """
    file = self._file
    if file.held:
      return None
    file.queried.add(file.num_steps)
    return RecordedStep(file.number, file.num_steps)

  def on_reply(self, query: VlaQuery, reply: Reply) -> None:
    """Records an answer to a query of this file, once for each step."""
    file, stamp = self._file, query.stamp
    if stamp is None or stamp.file != file.number or file.held:
      return
    if not file.num_steps:
      file.first = query, reply  # nothing moved since: the newest counts
    elif stamp.step not in file.answered:
      self._write(query, reply, late=False)

  def step(self, step: Step) -> None:
    """Records an executed step; the first one begins a file."""
    file = self._file
    if not file.num_steps:
      self._write_buffer.begin(**self._meta)
      if file.first is not None:
        self._write(*file.first, late=False)
    self._write_buffer.step(step)
    file.num_steps += 1

  def hold(self) -> None:
    """Ends the file, because the arm holds, and retries its queries."""
    if self.active:
      self._file.held = True
      self._file.task = self._executor.submit(self._retry)

  def resume(self, *, give_up: bool) -> str:
    """Makes room for the next file.

    Args:
      give_up: do not wait for a VLA that does not answer.

    Returns:
      '', or why the arm must wait; then call again.
    """
    file = self._file
    if not file.held:
      return ''
    if file.task is not None:
      if not file.task.done():
        return _BUSY
      file.task.result()
    if not file.closing and not give_up and self._unanswered():
      file.task = self._executor.submit(self._retry)
      return f'{_BUSY} {self._vla_queries.cause()}.'
    if not file.closing:
      file.closing = True
      file.task = self._executor.submit(self._write_buffer.end, 'hold')
      if not file.task.done():
        return _BUSY
      file.task.result()
    if not self._write_buffer.flush():
      return self._write_buffer.full
    self._next_file()
    return ''

  def end(self, outcome: str) -> str:
    """Closes the last file of an episode.

    Returns:
      '' once it is on the disk, or why it is not; then call again.
    """
    self.hold()
    file = self._file
    if file.task is not None:
      file.task.result()
      file.task = None
    if file.num_steps and not file.closing:
      file.closing = True
      self._write_buffer.end(outcome)
    if not self._write_buffer.flush():
      return self._write_buffer.full
    if file.num_steps:
      self._next_file()
    return ''

  def _next_file(self) -> None:
    file = self._file
    for stamp in self._unanswered():
      self._vla_queries.discard(stamp)
    self.missing_queries += len(set(self._observed()) - file.answered)
    self._file = _File(file.number + 1)

  def _observed(self) -> range:
    return observed_steps(self._file.num_steps, self._bundle.replay_stride)

  def _unanswered(self) -> list[RecordedStep]:
    """Returns the queries that can be retried."""
    stamps = [
      RecordedStep(self._file.number, step)
      for step in self._observed()
      if step not in self._file.answered
    ]
    return [x for x in stamps if self._vla_queries.has_pending(x)]

  def _retry(self) -> None:
    answers = self._vla_queries.retry(self._unanswered(), self._timeout_s)
    for query, reply in answers:
      self._write(query, reply, late=True)
    self.late_queries += len(answers)

  def _write(self, query: VlaQuery, reply: Reply, *, late: bool) -> None:
    bundle, step = self._bundle, query.stamp.step
    self._file.answered.add(step)
    self._vla_queries.discard(query.stamp)
    mean, std = np.float32(bundle.proprio_mean), np.float32(bundle.proprio_std)
    features = Features(
      z_rl=reply.z_rl,
      proprio=(query.proprio - mean) / std,
      reference=reply.reference[: bundle.chunk_size + bundle.inference_delay],
      pose=query.pose,
    )
    self._write_buffer.features(step, features, late=late)
