"""Which chunk drives now, and when the next one takes over.

Driving alone, the VLA is followed without a pause: its newest answer makes the
next chunk, which the queue begins at the step whose time it is. In the critical
phase of practice and evaluation chunks follow each other whole, as in
simulation. The next is decided by what is seen `delay` steps before this one
ends; an answer that takes longer is waited for, and the arm stays where it is:
the last command, kept, would push on. An actor learned for another delay does
not do: two steps more cost it 11 of 20 successes.
"""

from collections.abc import Callable

import numpy as np

from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.serving.schema import Reply


class ChunkScheduler:
  """Chunks in their order. queue: what drives. driver: who made the chunk.
  driven: control steps of the attempt, without waits. stands: this very moment
  must be looked at."""

  def __init__(
    self,
    bundle: BundleSpec,
    choose: Callable[[VlaQuery, Reply, int], tuple[np.ndarray, CommandSource]],
    *,
    horizon: int,
    starved_steps: int,
  ):
    """Plans nothing yet.

    Args:
      bundle: for the chunk, the delay, the rate and what stays.
      choose: (look, reply, steps driven since the look) to commands [n, A]
        and who made them. Paced they begin now, else when it was looked.
      horizon: steps of a chunk, where the VLA is followed without a pause.
      starved_steps: see `EpisodeConfig`.
    """
    self._bundle, self._choose, self._horizon = bundle, choose, horizon
    self._period_s, self._starved_steps = 1.0 / bundle.control_hz, starved_steps
    self._stays = np.isin(
      np.arange(bundle.action_dim), bundle.frozen_action_dims
    )
    self.queue = ActionChunkBuffer(bundle.action_dim, self._period_s)

  def begin(self, now: float) -> None:
    """Starts an attempt."""
    self.queue.reset()
    self.driven = 0
    self.clear(now)

  def clear(self, since: float) -> None:
    """Forgets what was planned and seen: the arm has stopped or starts anew."""
    self.forget()
    self.expect(since)

  def forget(self) -> None:
    """Forgets what was planned: it is of another moment."""
    self.queue.clear()
    self._until, self._left = -np.inf, 0  # s, steps: of the running chunk
    self._starved, self.driver = 0, CommandSource.VLA
    self._stand: np.ndarray | None = None

  def expect(self, since: float) -> None:
    """Counts only what is seen from `since`, s, on."""
    self._answer: tuple[VlaQuery, Reply] | None = None
    self._since, self.stands = since, True

  def enter(self, since: float) -> None:
    """The critical phase begins: its first chunk comes as soon as it can."""
    self._left = 0
    self.expect(since)

  def hear(self, look: VlaQuery, reply: Reply, *, paced: bool) -> None:
    """Takes an answer: paced the first that counts, else the newest."""
    if look.asked >= self._since and not (paced and self._answer):
      self._answer = look, reply

  def step(self, now: float, *, paced: bool, counts: bool = True) -> None:
    """A step was driven; with `counts`, one of the chunk."""
    self.driven += 1
    self._left -= counts
    # What was seen before does not decide the next chunk.
    if paced and counts and self._left == self._bundle.inference_delay:
      self.expect(now)

  def next(
    self, now: float, position: np.ndarray, *, paced: bool
  ) -> Command | str:
    """Returns the command for `now`, s, or what is missing, in words."""
    over = self._left <= 0 if paced else now >= self._until
    if over and self._answer is not None:
      (look, reply), self._answer = self._answer, None
      commands, self.driver = self._choose(look, reply, self.driven - look.step)
      self.queue.put(commands, look.made, due=now if paced else None)
      self._left, over = len(commands), False
      self._until = now + (self._horizon - 0.5) * self._period_s
    planned = self.queue.next(now)
    if planned is None:
      return 'A first chunk must come'
    waits = paced and over
    self._starved = self._starved + 1 if planned.starved or waits else 0
    if self._starved > self._starved_steps:
      return 'A new chunk must come'
    if not waits:
      self._stand = None
      return Command(planned.command, planned.made, self.driver)
    if self._stand is None:
      self._stand = np.where(self._stays, planned.command, position)
    return Command(self._stand, planned.made, CommandSource.WAIT)
