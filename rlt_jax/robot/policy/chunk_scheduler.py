"""Decides which action chunk drives and when the next one takes over.

Where the VLA drives alone it is followed without a pause: its newest answer
makes the next chunk, which starts at the step that is meant for now.

In the critical phase of practice and evaluation ("paced") chunks follow each
other whole, as in simulation. The next one is decided by the observation
`inference_delay` steps before the present one ends. If the answer takes longer,
the measured pose is held; to keep the last command would push on. The actor
must have been trained with the delay it has: with two steps more it lost 11 of
20 successes.
"""

from collections.abc import Callable

import numpy as np

from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.policy.action_chunks import ActionChunkBuffer
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.serving.schema import Reply

# (query, reply, control steps executed since the query) -> commands [n, A] and
# their source.
MakeChunk = Callable[[VlaQuery, Reply, int], tuple[np.ndarray, CommandSource]]


class ChunkScheduler:
  """Schedules chunks one after another.

  buffer: holds the chunk in use. source: its source. num_steps: control steps
  executed in the episode, without waits. query_now: the VLA must be queried in
  this control step.
  """

  def __init__(
    self,
    bundle: BundleSpec,
    make_chunk: MakeChunk,
    *,
    open_loop_steps: int,
    starved_steps: int,
  ):
    """Schedules nothing yet.

    Args:
      bundle: with the chunk size, the delay, the rate and the frozen entries.
      make_chunk: makes commands of an answer. Paced, they start now, else at
        the observation.
      open_loop_steps, starved_steps: see `EpisodeConfig`.
    """
    self._bundle, self._make_chunk = bundle, make_chunk
    self._open_loop_steps = open_loop_steps
    self._starved_steps = starved_steps
    self._frozen = np.isin(
      np.arange(bundle.action_dim), bundle.frozen_action_dims
    )
    self.buffer = ActionChunkBuffer(bundle.action_dim, self._period_s)

  def begin(self, now: float) -> None:
    """Starts an episode."""
    self.buffer.reset()
    self.num_steps = 0
    self.clear(now)

  def clear(self, since: float) -> None:
    """Drops chunk and answers: the arm has stopped or an episode begins."""
    self.drop_chunk()
    self.reset_queries(since)

  def drop_chunk(self) -> None:
    """Drops the chunk in use, because it was planned for an arm that moves."""
    self.buffer.clear()
    self._end_time, self._steps_left = -np.inf, 0  # of the chunk in use
    self._num_starved, self.source = 0, CommandSource.VLA
    self._held_pose: np.ndarray | None = None

  def reset_queries(self, since: float, num_steps: int = 0) -> None:
    """Ignores answers to observations before `since`, s, and before a step."""
    self._answer: tuple[VlaQuery, Reply] | None = None
    self._first_query, self.query_now = (since, num_steps), True

  def start_critical_phase(self, since: float) -> None:
    """Lets the first chunk of the critical phase start as soon as it can."""
    self._steps_left = 0
    self.reset_queries(since)

  def on_reply(self, query: VlaQuery, reply: Reply, *, paced: bool) -> None:
    """Keeps an answer: paced the first valid one, else the newest."""
    since, num_steps = self._first_query
    # On an arm the reading of a step is dated after the step has begun.
    fits = query.query_time >= since and query.num_steps >= num_steps
    if fits and not (paced and self._answer):
      self._answer = query, reply

  def step(self, now: float, *, paced: bool, of_chunk: bool = True) -> None:
    """Counts an executed control step; `of_chunk`: the chunk in use gave it."""
    self.num_steps += 1
    self._steps_left -= of_chunk
    # Older observations must not decide the next chunk.
    if paced and of_chunk and self._steps_left == self._bundle.inference_delay:
      self.reset_queries(now, self.num_steps)

  def next(
    self, now: float, position: np.ndarray, *, paced: bool
  ) -> Command | str:
    """Returns the command for `now`, s, or what is missing, in words.

    Args:
      now: s.
      position: [A] measured.
      paced: see the module.
    """
    over = self._steps_left <= 0 if paced else now >= self._end_time
    if over and self._answer is not None:
      self._start_chunk(*self._answer, now, paced=paced)
      self._answer, over = None, False
    action = self.buffer.next(now)
    if action is None:
      return 'A first chunk must come'
    waits = paced and over
    self._num_starved = self._num_starved + 1 if action.starved or waits else 0
    if self._num_starved > self._starved_steps:
      return 'A new chunk must come'
    if not waits:
      self._held_pose = None
      return Command(action.command, action.obs_time, self.source)
    if self._held_pose is None:
      self._held_pose = np.where(self._frozen, action.command, position)
    return Command(self._held_pose, action.obs_time, CommandSource.WAIT)

  @property
  def _period_s(self) -> float:
    return 1.0 / self._bundle.control_hz

  def _start_chunk(
    self, query: VlaQuery, reply: Reply, now: float, *, paced: bool
  ) -> None:
    commands, self.source = self._make_chunk(
      query, reply, self.num_steps - query.num_steps
    )
    self.buffer.put(commands, query.obs_time, start_time=now if paced else None)
    self._steps_left = len(commands)
    self._end_time = now + (self._open_loop_steps - 0.5) * self._period_s
