"""Takes camera pictures and queries the VLA, in a thread of its own.

The control loop never waits for it. At most one query waits for the cameras,
the newest, and a picture of another moment answers no query: one that was taken
too long before it is not used, but the next one. Queries with a
stamp are kept until they are answered: those that the VLA had no time for while
the arm moved are retried while it holds.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent import futures
import contextlib
import functools
import threading
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock
from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec

_POLL_S = 0.002
_MAX_KEPT_BYTES = 1 << 28  # of pictures that wait for a retry


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


# (query, camera -> uint8 [S, S, 3]) -> None; see `recording.pictures`.
Keep = Callable[[VlaQuery, Mapping[str, np.ndarray]], None]


class PictureLimits(NamedTuple):
  """Which pictures answer a query, s.

  max_age_s: older pictures are not sent. max_offset_s: nor are pictures taken
  longer before or after their query, which show another pose than the joints
  it has.
  frozen_timeout_s: a camera that repeats its picture for longer is frozen; None
  for cameras without noise, which may show the same for long.
  """

  max_age_s: float
  max_offset_s: float
  frozen_timeout_s: float | None


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
    limits: PictureLimits,
    keep: Keep = lambda query, images: None,
  ):
    """Takes no picture yet.

    Args:
      cameras: `observe` is called in the executor's thread and may wait there.
      client: parses replies to `schema.Reply`.
      wire: inputs of the server.
      prompt: the instruction.
      clock: the loop's.
      executor: one thread for the cameras alone, which may hang with them.
      limits: which pictures answer a query.
      keep: called with the query and its pictures, if it has a stamp; must
        neither wait nor raise.

    Raises:
      ValueError: the cameras are not the server's, in its order.
    """
    if tuple(cameras.shapes) != tuple(wire.cameras):
      raise ValueError(
        f"cameras must be the server's {wire.cameras}: {tuple(cameras.shapes)}."
      )
    self._cameras, self._client = cameras, client
    self._clock, self._executor = clock, executor
    self._request = functools.partial(schema.make_request, wire, prompt=prompt)
    self._pictures, self._keep = _Pictures(limits), keep
    self._lock = threading.Lock()
    self._waiting: VlaQuery | None = None  # for the cameras
    self._since: float | None = None  # s, when the cameras were asked
    self._pending = _Pending()
    # The preflight's answer, which is to no query.
    self._last_answer: Any = client.latest()
    self._blind = self._off = ''
    self._only_retries = False

  @property
  def blind(self) -> str:
    """Why the newest query had no pictures; '' if it had."""
    since, now = self._since, self._clock.now()
    limit_s = self._pictures.limits.max_age_s
    if since is not None and now - since > limit_s:
      names = ', '.join(self._cameras.shapes)
      return (
        f'Cameras must give pictures within {limit_s} s: one of {names} has '
        f'given none for {now - since:.1f} s'
      )
    return self._blind

  def query(self, query: VlaQuery) -> None:
    """Queries the VLA about the present view; the newest query wins."""
    if self._only_retries:
      return
    try:
      getattr(self._cameras, 'trigger', lambda: None)()
    except Exception as error:  # a vendor's own, too: the arm must hold
      self._blind = f'Cameras must take the trigger: {error}'
      return
    with self._lock:
      self._waiting = query
      if self._since is not None:
        return  # the thread takes it when the cameras have answered
      self._since = self._clock.now()
    self._executor.submit(self._send_all)

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
    if self.blind or self._off:
      return self.blind or self._off
    state, cause = self._client.status()
    return f'VLA {state}: {cause}' if cause else f'VLA {state}, but too slow'

  def has_pending(self, stamp: Hashable) -> bool:
    """Returns whether a query is kept with its pictures, for a retry."""
    return stamp in self._pending

  def discard(self, stamp: Hashable) -> None:
    """Drops a query, because it was answered or is not needed any more."""
    self._pending.drop(stamp)

  @contextlib.contextmanager
  def only_retries(self, timeout_s: float) -> Iterator[None]:
    """Sends no new queries within, which would replace those of a retry.

    Begins when the cameras have answered the last one, unless they hang.
    """
    self._only_retries = True
    try:
      end = self._clock.now() + timeout_s
      while self._since is not None and not self.blind:
        if self._clock.now() >= end:
          break
        self._clock.sleep_until(self._clock.now() + _POLL_S)
      yield
    finally:
      self._only_retries = False

  def retry(
    self,
    stamps: Iterable[Hashable],
    timeout_s: float,
    give_up: threading.Event | None = None,
  ) -> Iterator[tuple[VlaQuery, schema.Reply]]:
    """Sends pending queries again and waits, while the arm holds.

    Args:
      stamps: of the queries.
      timeout_s: for all of them together.
      give_up: set by another thread to wait no longer.

    Yields:
      The answers that came in time; the other queries stay pending.
    """
    end, give_up = self._clock.now() + timeout_s, give_up or threading.Event()
    for stamp in stamps:
      kept = self._pending.get(stamp)
      if kept is None:
        continue
      request, query = kept
      reply = self._wait(request, query, end, give_up)
      if reply is None:
        return
      yield query, reply

  def _wait(
    self, request: dict, query: VlaQuery, end: float, give_up: threading.Event
  ) -> schema.Reply | None:
    sent = -np.inf
    while (now := self._clock.now()) < end and not give_up.is_set():
      answer = self._client.latest()
      if answer is not None and answer.stamp is query:
        return answer.reply
      if now - sent >= 1.0:  # a connection that was lost drops its requests
        self._client.ask(request, query)
        sent = now
      else:
        self._clock.sleep_until(now + _POLL_S)
    return None

  def _send_all(self) -> None:
    """Takes pictures for the waiting query until none waits."""
    while True:
      with self._lock:
        query, self._waiting = self._waiting, None
        self._since = None if query is None else self._clock.now()
      if query is None:
        return
      self._send(query)

  def _send(self, query: VlaQuery) -> None:
    try:
      images, capture_time = self._take_pictures(query)
      now = self._clock.now()
      self._blind = self._pictures.fault(images, capture_time, now)
      if self._blind:
        return
      self._off = self._pictures.describe_offset(capture_time, query)
      if self._off:
        return
      request = self._request(images=images, proprio=query.proprio)
      query = query._replace(obs_time=min(query.obs_time, capture_time))
      if query.stamp is not None:
        self._pending.put(query.stamp, request, query)
      self._client.ask(request, query)
      if query.stamp is not None:
        self._keep(query, images)
    except Exception as error:  # a vendor's own, too: the arm must hold
      self._blind = f'Cameras must give pictures: {error}'

  def _take_pictures(
    self, query: VlaQuery
  ) -> tuple[dict[str, np.ndarray], float]:
    """Returns pictures that are not too old for a query, and their time, s.

    It waits for the next ones if they are, as long as those may still answer.
    """
    max_offset_s = self._pictures.limits.max_offset_s
    while True:
      images = dict(self._cameras.observe())
      now = self._clock.now()
      capture_time = now - self._cameras.age_s()
      early_s = query.query_time - capture_time
      over = now - query.query_time > max_offset_s
      if early_s <= max_offset_s or over or hasattr(self._cameras, 'trigger'):
        return images, capture_time
      self._clock.sleep_until(now + _POLL_S)


class _Pending:
  """Queries with their pictures; the oldest are dropped beyond a size."""

  def __init__(self):
    self._kept: dict[Hashable, tuple[dict, VlaQuery, int]] = {}
    self._bytes = 0
    self._lock = threading.Lock()

  def __contains__(self, stamp: Hashable) -> bool:
    return stamp in self._kept

  def get(self, stamp: Hashable) -> tuple[dict, VlaQuery] | None:
    """Returns the request and the query of a stamp, None if dropped."""
    kept = self._kept.get(stamp)
    return kept and kept[:2]

  def put(self, stamp: Hashable, request: dict, query: VlaQuery) -> None:
    """Keeps a query, instead of one before of the same stamp."""
    with self._lock:
      self._drop(stamp)
      size = sum(np.asarray(x).nbytes for x in request.values())
      self._kept[stamp] = request, query, size
      self._bytes += size
      while self._bytes > _MAX_KEPT_BYTES:
        self._drop(next(iter(self._kept)))

  def drop(self, stamp: Hashable) -> None:
    """Forgets a query, if it is kept."""
    with self._lock:
      self._drop(stamp)

  def _drop(self, stamp: Hashable) -> None:
    self._bytes -= self._kept.pop(stamp, (None, None, 0))[2]


class _Pictures:
  """Decides which pictures answer a query."""

  def __init__(self, limits: PictureLimits):
    self.limits = limits
    # Camera -> its last picture and since when it shows it.
    self._last: dict[str, tuple[np.ndarray, float]] = {}

  def describe_offset(self, capture_time: float, query: VlaQuery) -> str:
    """Returns why pictures are of another moment than the query, or ''."""
    late_s = capture_time - query.query_time
    if abs(late_s) <= self.limits.max_offset_s:
      return ''
    side = 'after' if late_s > 0.0 else 'before'
    return (
      f'Camera pictures must be taken within {self.limits.max_offset_s} s of '
      f'their query: {abs(late_s):.3f} s {side} it'
    )

  def fault(
    self,
    images: Mapping[str, np.ndarray],
    capture_time: float,
    now: float,
  ) -> str:
    """Returns why a camera does not show the present, or ''."""
    max_age_s, age_s = self.limits.max_age_s, now - capture_time
    if not age_s <= max_age_s:
      return (
        f'Camera pictures must be at most {max_age_s} s old: {age_s:.3f} s.'
      )
    timeout_s = self.limits.frozen_timeout_s
    if timeout_s is None:
      return ''
    for name, image in images.items():
      before, since = self._last.get(name, (None, now))
      if before is None or not np.array_equal(before, image):
        before, since = np.array(image), now
      self._last[name] = before, since
      if now - since > timeout_s:
        return (
          f'{name} must show a new picture within {timeout_s} s: it is frozen '
          f'for {now - since:.3f} s.'
        )
    return ''
