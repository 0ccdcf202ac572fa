"""What of an episode goes to the journal, as it happens.

Nobody drives an arm that holds, so a hold ends a part; the next command
begins another. What the VLA did not answer in time is asked again while the
arm holds, before the part is closed.
"""

from concurrent import futures
from typing import Any

import numpy as np

from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from rlt_jax.robot.recording.segments import needed, Seen, Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.schema import Reply

_BUSY = 'What came before the hold must be on the disk first.'


class EpisodeRecorder:
  """The parts of one episode after another.

  part: number of the one that is open or comes next. tick: of it, the steps
  so far. broken: a hold has ended it, and it waits for how it is called.
  backfilled, gaps: ticks that were answered afterwards, and never.
  """

  def __init__(
    self,
    bundle: BundleSpec,
    outbox: WriteBuffer,
    sight: VlaQueries,
    executor: futures.Executor,
    *,
    timeout_s: float,
  ):
    """Writes nothing.

    Args:
      bundle: for the chunk, the delay and the normalisation.
      outbox: of the journal.
      sight: what is asked again.
      executor: the sight's.
      timeout_s: for asking again, all ticks of a part together.
    """
    self._mean = np.float32(bundle.proprio_mean)
    self._std = np.float32(bundle.proprio_std)
    self._steps = bundle.chunk_size + bundle.inference_delay
    self._stride = bundle.replay_stride
    self._outbox, self._sight = outbox, sight
    self._executor, self._timeout_s = executor, timeout_s
    self.part = self.backfilled = self.gaps = self.tick = 0
    self._seen: set[int] = set()
    self._reset()

  def begin(self, **said: Any) -> None:
    """Starts an episode; `said` opens each of its parts."""
    self._said = said

  def due(self) -> bool:
    """Returns whether the present tick must be looked at."""
    return self.tick % self._stride == 0 and self.tick not in self._looked

  def looked(self) -> None:
    """Notes that the present tick is asked about."""
    self._looked.add(self.tick)

  def answer(self, look: VlaQuery, reply: Reply) -> None:
    """Records an answer to a look of this part, once for each tick."""
    if look.part != self.part or self.broken:
      return
    if not self.tick:
      self._first = look, reply  # nothing moved since: the newest counts
    elif look.tick not in self._seen:
      self._write(look, reply, live=True)

  def step(self, step: Step) -> None:
    """Records an executed step, the first of which begins the part."""
    if not self.tick:
      self._outbox.begin(**self._said)
      if self._first is not None:
        self._write(*self._first, live=True)
    self._outbox.step(step)
    self.tick += 1

  def hold(self) -> None:
    """The arm holds: an open part is broken off and filled."""
    if self.tick and not self.broken:
      self.broken = True
      self._work = self._executor.submit(self._fill)

  def resume(self, *, give_up: bool) -> str:
    """Makes room for the next part.

    Args:
      give_up: do not wait for a VLA that does not answer.

    Returns:
      What that waits for, or ''.
    """
    if not self.broken:
      return ''
    if self._work is not None:
      if not self._work.done():
        return _BUSY
      self._work.result()
    if not self._closing and not give_up and self._unanswered():
      self._work = self._executor.submit(self._fill)
      return f'{_BUSY} {self._sight.cause()}.'
    if not self._closing:
      self._closing = True
      self._work = self._executor.submit(self._outbox.end, 'hold')
      if not self._work.done():
        return _BUSY
      self._work.result()
    if not self._outbox.flush():
      return self._outbox.full
    self._reset()
    return ''

  def end(self, outcome: str) -> str:
    """Closes the last part and waits for the disk.

    Returns:
      '' when it is there, or why not; then call again.
    """
    self.hold()
    if self._work is not None:
      self._work.result()
      self._work = None
    if self.tick and not self._closing:
      self._closing = True
      self._outbox.end(outcome)
    if not self._outbox.flush():
      return self._outbox.full
    if self.tick:
      self._reset()
    return ''

  def _reset(self) -> None:
    for tick in self._unanswered():
      self._sight.forget(self.part, tick)
    if self.tick:
      ticks = set(needed(self.tick, self._stride))
      self.gaps += len(ticks - self._seen)
    self.part += 1
    self.tick = 0
    self.broken = self._closing = False
    self._looked: set[int] = set()
    self._seen = set()
    self._first: tuple[VlaQuery, Reply] | None = None
    self._work: futures.Future | None = None

  def _unanswered(self) -> list[int]:
    """Returns the ticks that may still be asked about."""
    return [
      tick
      for tick in needed(self.tick, self._stride)
      if tick not in self._seen and self._sight.known(self.part, tick)
    ]

  def _fill(self) -> None:
    found = self._sight.again(self.part, self._unanswered(), self._timeout_s)
    for look, reply in found.values():
      self._write(look, reply, live=False)
    self.backfilled += len(found)

  def _write(self, look: VlaQuery, reply: Reply, *, live: bool) -> None:
    self._seen.add(look.tick)
    self._sight.forget(look.part, look.tick)
    seen = Seen(
      z_rl=reply.z_rl,
      proprio=(look.proprio - self._mean) / self._std,
      reference=reply.reference[: self._steps],
      pose=look.pose,
      live=live,
    )
    self._outbox.seen(look.tick, seen)
