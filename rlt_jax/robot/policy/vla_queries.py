"""Takes pictures and asks the VLA, in a thread that the loop never waits for.

What was observed is kept until it is answered: what the VLA had no time for
while the arm moved is asked again when it rests.
"""

from collections.abc import Iterable, Mapping
from concurrent import futures
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock
from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec

_POLL_S = 0.002


class VlaQuery(NamedTuple):
  """One observation, and the stamp of its question.

  part, tick: of the journal; -1 for a part that is not recorded. asked: s, of
  the reading. made: s, when it was observed: of the oldest picture. pose:
  float64 [A] measured. proprio: float32 [P], positions then velocities. step:
  how many of the attempt had been driven.
  """

  part: int
  tick: int
  asked: float
  made: float
  pose: np.ndarray
  proprio: np.ndarray
  step: int


class Client(Protocol):
  """What is used of `serving.client.VlaClient`."""

  def ask(self, observation: dict[str, Any], stamp: Any) -> None: ...  # noqa: D102

  def latest(self) -> Any: ...  # noqa: D102

  def status(self) -> Any: ...  # noqa: D102


class VlaQueries:
  """Cameras and VLA as one.

  blind: why the newest look had no pictures to ask with, in words; '' if it
  had.
  """

  def __init__(
    self,
    cameras: Cameras,
    client: Client,
    wire: ServingSpec,
    *,
    prompt: str,
    clock: Clock,
    executor: futures.Executor,
    max_age_s: float,
    max_same_s: float | None,
  ):
    """Takes no picture yet.

    Args:
      cameras: `observe` is called in the executor's thread and may wait there.
      client: its answers' replies are `schema.Reply`.
      wire: what the server takes.
      prompt: the instruction.
      clock: the loop's.
      executor: one thread; what it is given is done in that order.
      max_age_s: older pictures are not asked with.
      max_same_s: a camera that repeats its picture for longer is frozen. None
        for cameras without noise, which may show the same for long.

    Raises:
      ValueError: cameras that are not the server's, in its order.
    """
    if tuple(cameras.shapes) != tuple(wire.cameras):
      raise ValueError(
        f"cameras must be the server's {wire.cameras}: {tuple(cameras.shapes)}."
      )
    self._cameras, self._client, self._wire = cameras, client, wire
    self._trigger = getattr(cameras, 'trigger', lambda: None)
    self._prompt, self._clock, self._executor = prompt, clock, executor
    self._max_age_s, self._max_same_s = max_age_s, max_same_s
    self._asked: dict[tuple[int, int], tuple[dict, VlaQuery]] = {}
    self._last: dict[str, tuple[np.ndarray, float]] = {}
    self._heard: Any = client.latest()  # the preflight's, and not about a look
    self.blind = ''

  def look(self, look: VlaQuery) -> None:
    """Asks about what is seen now; the newest question wins."""
    try:
      self._trigger()
    except Exception as error:  # a vendor's own, too: the arm must hold
      self.blind = f'Cameras must take the trigger: {error}'
      return
    self._executor.submit(self._shoot, look)

  def forget(self, part: int, tick: int) -> None:
    """Frees the pictures of an observation that has been answered."""
    self._asked.pop((part, tick), None)

  def newest(self) -> Any:
    """Returns an answer that was not returned before, or None."""
    answer = self._client.latest()
    if answer is None or answer is self._heard:
      return None
    self._heard = answer
    return answer

  def cause(self) -> str:
    """Says why there is no newer answer, as well as it is known."""
    if self.blind:
      return self.blind
    state, cause = self._client.status()
    return f'VLA {state}: {cause}' if cause else f'VLA {state}, but too slow'

  def again(
    self, part: int, ticks: Iterable[int], timeout_s: float
  ) -> dict[int, tuple[VlaQuery, schema.Reply]]:
    """Asks again and waits, while nothing moves.

    Args:
      part: of the looks.
      ticks: which are not answered.
      timeout_s: for all of them together.

    Returns:
      The answers by tick; what has none may be asked again.
    """
    end, found = self._clock.now() + timeout_s, {}
    for tick in ticks:
      request, look = self._asked[part, tick]
      reply = self._wait(request, look, end)
      if reply is None:
        break
      found[tick] = look, reply
    return found

  def known(self, part: int, tick: int) -> bool:
    """Returns whether it has pictures of a look that is not answered."""
    return (part, tick) in self._asked

  def _wait(
    self, request: dict, look: VlaQuery, end: float
  ) -> schema.Reply | None:
    asked = -np.inf
    while (now := self._clock.now()) < end:
      answer = self._client.latest()
      if answer is not None and answer.stamp is look:
        return answer.reply
      if now - asked >= 1.0:  # a connection that was lost forgets questions
        self._client.ask(request, look)
        asked = now
      else:
        self._clock.sleep_until(now + _POLL_S)
    return None

  def _shoot(self, look: VlaQuery) -> None:
    try:
      images = dict(self._cameras.observe())
      taken = self._clock.now() - self._cameras.age_s()
      self.blind = self._fault(images, taken)
      if self.blind:
        return
      request = schema.make_request(
        self._wire, images=images, proprio=look.proprio, prompt=self._prompt
      )
    except Exception as error:  # a vendor's own, too: the arm must hold
      self.blind = f'Cameras must give pictures: {error}'
      return
    look = look._replace(made=min(look.made, taken))
    if look.part >= 0:
      self._asked[look.part, look.tick] = request, look
    self._client.ask(request, look)

  def _fault(self, images: Mapping[str, np.ndarray], taken: float) -> str:
    now = self._clock.now()
    if not now - taken <= self._max_age_s:
      return (
        f'Camera pictures must be at most {self._max_age_s} s old: '
        f'{now - taken:.3f} s.'
      )
    if self._max_same_s is None:
      return ''
    for name, image in images.items():
      before, since = self._last.get(name, (None, now))
      if before is None or not np.array_equal(before, image):
        before, since = np.array(image), now
      self._last[name] = before, since
      if now - since > self._max_same_s:
        return (
          f'{name} must show a new picture within {self._max_same_s} s: it '
          f'is frozen for {now - since:.3f} s.'
        )
    return ''
