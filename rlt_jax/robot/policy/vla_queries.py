"""Takes camera pictures and queries the VLA, in a thread of its own.

The control loop never waits for it. Queries with a stamp are kept until they
are answered: those that the VLA had no time for while the arm moved are retried
while it holds.
"""

from collections.abc import Hashable, Iterable, Mapping
from concurrent import futures
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock
from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec

_POLL_S = 0.002


class VlaQuery(NamedTuple):
  """One observation that the VLA is queried about.

  stamp: of the caller, to retry or discard the query; None: it is not kept.
  query_time: s, of the arm's reading. obs_time: s, of the oldest part of the
  observation, picture or reading. pose: float64 [A] measured. proprio: float32
  [P], positions then velocities. num_steps: control steps executed in the
  episode before it.
  """

  stamp: Hashable | None
  query_time: float
  obs_time: float
  pose: np.ndarray
  proprio: np.ndarray
  num_steps: int


class Client(Protocol):
  """What is used of `serving.client.VlaClient`."""

  def ask(self, observation: dict[str, Any], stamp: Any) -> None: ...  # noqa: D102

  def latest(self) -> Any: ...  # noqa: D102

  def status(self) -> Any: ...  # noqa: D102


class VlaQueries:
  """Cameras and VLA as one.

  blind: why the newest query had no pictures; '' if it had.
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
    max_camera_age_s: float,
    frozen_camera_timeout_s: float | None,
  ):
    """Takes no picture yet.

    Args:
      cameras: `observe` is called in the executor's thread and may wait there.
      client: parses replies to `schema.Reply`.
      wire: inputs of the server.
      prompt: the instruction.
      clock: the loop's.
      executor: one thread, which does its tasks in their order.
      max_camera_age_s: older pictures are not sent.
      frozen_camera_timeout_s: a camera that repeats its picture for longer is
        frozen. None for cameras without noise, which may show the same for
        long.

    Raises:
      ValueError: the cameras are not the server's, in its order.
    """
    if tuple(cameras.shapes) != tuple(wire.cameras):
      raise ValueError(
        f"cameras must be the server's {wire.cameras}: {tuple(cameras.shapes)}."
      )
    self._cameras, self._client, self._wire = cameras, client, wire
    self._prompt, self._clock, self._executor = prompt, clock, executor
    self._max_camera_age_s = max_camera_age_s
    self._frozen_camera_timeout_s = frozen_camera_timeout_s
    self._pending: dict[Hashable, tuple[dict, VlaQuery]] = {}
    # Camera -> its last picture and since when it shows it.
    self._pictures: dict[str, tuple[np.ndarray, float]] = {}
    # The preflight's answer, which is to no query.
    self._last_answer: Any = client.latest()
    self.blind = ''

  def query(self, query: VlaQuery) -> None:
    """Queries the VLA about the present view; the newest query wins."""
    try:
      getattr(self._cameras, 'trigger', lambda: None)()
    except Exception as error:  # a vendor's own, too: the arm must hold
      self.blind = f'Cameras must take the trigger: {error}'
      return
    self._executor.submit(self._send, query)

  def newest(self) -> Any:
    """Returns an answer that was not returned before, or None.

    The answer's stamp is its `VlaQuery`.
    """
    answer = self._client.latest()
    if answer is None or answer is self._last_answer:
      return None
    self._last_answer = answer
    return answer

  def cause(self) -> str:
    """Returns why there is no newer answer, as far as it is known."""
    if self.blind:
      return self.blind
    state, cause = self._client.status()
    return f'VLA {state}: {cause}' if cause else f'VLA {state}, but too slow'

  def has_pending(self, stamp: Hashable) -> bool:
    """Returns whether a query is kept with its pictures, for a retry."""
    return stamp in self._pending

  def discard(self, stamp: Hashable) -> None:
    """Drops a query, because it was answered or is not needed any more."""
    self._pending.pop(stamp, None)

  def retry(
    self, stamps: Iterable[Hashable], timeout_s: float
  ) -> list[tuple[VlaQuery, schema.Reply]]:
    """Sends pending queries again and waits, while the arm holds.

    Args:
      stamps: of the queries.
      timeout_s: for all of them together.

    Returns:
      The answers that came in time; the other queries stay pending.
    """
    end, answers = self._clock.now() + timeout_s, []
    for stamp in stamps:
      request, query = self._pending[stamp]
      reply = self._wait(request, query, end)
      if reply is None:
        break
      answers.append((query, reply))
    return answers

  def _wait(
    self, request: dict, query: VlaQuery, end: float
  ) -> schema.Reply | None:
    sent = -np.inf
    while (now := self._clock.now()) < end:
      answer = self._client.latest()
      if answer is not None and answer.stamp is query:
        return answer.reply
      if now - sent >= 1.0:  # a connection that was lost drops its requests
        self._client.ask(request, query)
        sent = now
      else:
        self._clock.sleep_until(now + _POLL_S)
    return None

  def _send(self, query: VlaQuery) -> None:
    try:
      images = dict(self._cameras.observe())
      capture_time = self._clock.now() - self._cameras.age_s()
      self.blind = self._camera_fault(images, capture_time)
      if self.blind:
        return
      request = schema.make_request(
        self._wire, images=images, proprio=query.proprio, prompt=self._prompt
      )
    except Exception as error:  # a vendor's own, too: the arm must hold
      self.blind = f'Cameras must give pictures: {error}'
      return
    query = query._replace(obs_time=min(query.obs_time, capture_time))
    if query.stamp is not None:
      self._pending[query.stamp] = request, query
    self._client.ask(request, query)

  def _camera_fault(
    self, images: Mapping[str, np.ndarray], capture_time: float
  ) -> str:
    now = self._clock.now()
    if not now - capture_time <= self._max_camera_age_s:
      return (
        f'Camera pictures must be at most {self._max_camera_age_s} s old: '
        f'{now - capture_time:.3f} s.'
      )
    timeout_s = self._frozen_camera_timeout_s
    if timeout_s is None:
      return ''
    for name, image in images.items():
      before, since = self._pictures.get(name, (None, now))
      if before is None or not np.array_equal(before, image):
        before, since = np.array(image), now
      self._pictures[name] = before, since
      if now - since > timeout_s:
        return (
          f'{name} must show a new picture within {timeout_s} s: it is frozen '
          f'for {now - since:.3f} s.'
        )
    return ''
