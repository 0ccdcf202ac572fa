"""Asks a policy server without blocking, for the loop."""

import asyncio
from collections.abc import Callable, Mapping
import logging
import threading
import time
from typing import Any, NamedTuple

from websockets.asyncio import client as websockets

from rlt_jax.serving import codec, schema, sync_client
from rlt_jax.serving.codec import MessageError
from rlt_jax.serving.sync_client import ServerError

CONNECTING, READY, LOST = 'connecting', 'ready', 'lost'
_CLOSED = 'closed by its owner'
_LOG = logging.getLogger(__name__)
_FIRST_DELAY_S, _LAST_DELAY_S = 0.1, 2.0  # between attempts, doubling


class _MisfitError(Exception):
  """The server is another than the one expected."""


class _Peer(NamedTuple):
  address: str
  token: str


class Answer(NamedTuple):
  """One answer. reply: what `parse` made of the message.

  stamp: as given to `ask`. round_trip_s: from sending to having parsed.
  """

  reply: Any
  stamp: Any
  round_trip_s: float


class Status(NamedTuple):
  """Status of a connection.

  state: 'connecting' until the first success or failure, then 'ready' or
    'lost'.
  cause: what went wrong since the last good answer or handshake;
    not empty while ready if the newest request failed.
  """

  state: str
  cause: str


class VlaClient:
  """Keeps one connection in a thread of its own; the newest request wins.

  One request is in progress at a time. A connection that is lost is opened
  again, after 0.1 s at first and 2 s at most; what was in progress on it is
  dropped, so ask anew. Each new connection's metadata is checked: a server
  that does not fit is never asked. Use it as a context, or `close` it.
  """

  def __init__(
    self,
    address: str,
    *,
    token: str = '',
    expected: Mapping[str, Any] | None = None,
    parse: Callable[[dict[str, Any]], Any] = lambda message: message,
    reply_timeout_s: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts to connect and returns at once.

    Args:
      address: such as ws://127.0.0.1:8000.
      token: sent as `Authorization: Api-Key <token>`; empty for none.
      expected: metadata fields for `schema.check`.
      parse: from message to `Answer.reply`, such as `schema.read_reply`
        with its spec; a ValueError of it refuses the answer.
      reply_timeout_s: for one reply; after it the connection is lost.
      clock: s, for round trips.

    Raises:
      ValueError: the address is not a ws:// or wss:// URL.
    """
    sync_client.check_address(address)
    self._peer = _Peer(address, token)
    self._expected = dict(expected or {})
    self._parse, self._clock = parse, clock
    self._reply_timeout_s = reply_timeout_s
    self._lock = threading.Condition()
    self._status = Status(CONNECTING, '')
    self._refused = False
    self._metadata: dict[str, Any] | None = None
    self._unsent: tuple[bytes, Any] | None = None
    self._answer: Answer | None = None
    self._closing = False
    started = threading.Event()
    self._thread = threading.Thread(
      target=lambda: asyncio.run(self._main(started)), daemon=True
    )
    self._thread.start()
    started.wait()

  def __enter__(self) -> 'VlaClient':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def ask(self, observation: dict[str, Any], stamp: Any) -> None:
    """Sends an observation as soon as the one in progress is answered.

    Never blocks. One that still waits is replaced. The observation is copied.

    Raises:
      MessageError: an observation that `codec.pack` refuses.
    """
    frame = codec.pack(observation)
    with self._lock:
      self._unsent = frame, stamp
    try:
      self._task.get_loop().call_soon_threadsafe(self._wake.set)
    except RuntimeError:
      raise MessageError('The client must be open: it was closed.') from None

  def latest(self) -> Answer | None:
    """Returns the newest answer, again and again; None before the first."""
    return self._answer

  def status(self) -> Status:
    """Returns the status of the connection."""
    return self._status

  def metadata(self) -> dict[str, Any] | None:
    """Returns the metadata of the last server that fitted, or None."""
    return self._metadata

  def wait_ready(self, timeout_s: float) -> dict[str, Any]:
    """Returns the metadata once ready; for a preflight, not for the loop.

    Raises:
      MessageError: the server does not fit, or is not there in time; the text
        has the cause.
    """
    with self._lock:
      self._lock.wait_for(
        lambda: self._status.state == READY or self._refused, timeout_s
      )
      if self._status.state == READY:
        return self._metadata
      cause = self._status.cause or f'no answer within {timeout_s:g} s'
    raise MessageError(f'{self._peer.address} must be ready: {cause}')

  def close(self) -> None:
    """Ends the connection and the thread; may be called again."""
    try:
      self._task.get_loop().call_soon_threadsafe(self._end)
    except RuntimeError:  # closed before
      return
    self._thread.join()

  def _end(self) -> None:
    # A cancellation can be lost: on Python 3.11 `asyncio.wait_for` returns the
    # reply that came in the same moment. The flag cannot.
    self._closing = True
    self._task.cancel()

  async def _main(self, started: threading.Event) -> None:
    self._task = asyncio.current_task()
    self._wake = asyncio.Event()
    started.set()
    try:
      await self._keep_connected()
    except asyncio.CancelledError:
      self._note(LOST, _CLOSED)

  async def _keep_connected(self) -> None:
    delay = _FIRST_DELAY_S
    while not self._closing:
      try:
        async with websockets.connect(
          self._peer.address, **sync_client.options(self._peer.token)
        ) as connection:
          try:
            await self._greet(connection)
            delay = _FIRST_DELAY_S
            await self._talk(connection)
          finally:  # else the server would log an internal error
            await connection.close()
      except Exception as error:
        if self._closing:
          break
        # Any failure must be reported in the status; the thread goes on.
        cause = sync_client.describe(error)
        if cause != self._status.cause:
          _LOG.warning(
            'No connection to %s: %s; trying again.', self._peer.address, cause
          )
        self._note(LOST, cause, refused=isinstance(error, _MisfitError))
      await asyncio.sleep(delay)
      delay = min(2.0 * delay, _LAST_DELAY_S)
    self._note(LOST, _CLOSED)

  async def _greet(self, connection: websockets.ClientConnection) -> None:
    # asyncio.timeout needs Python 3.11.
    first = connection.recv()
    first = await asyncio.wait_for(first, sync_client.CONNECT_TIMEOUT_S)
    metadata = sync_client.read(first)
    try:
      schema.check(metadata, **self._expected)
    except ValueError as error:
      raise _MisfitError(str(error)) from None
    self._metadata = metadata
    self._note(READY, '')

  async def _talk(self, connection: websockets.ClientConnection) -> None:
    closed = asyncio.create_task(connection.wait_closed())
    try:
      while True:
        frame, stamp = await self._next(closed)
        start = self._clock()
        try:
          frame = await asyncio.wait_for(
            _exchange(connection, frame), self._reply_timeout_s
          )
        # Python 3.10 has two of this name.
        except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041
          raise ConnectionError(
            f'no reply within {self._reply_timeout_s:g} s'
          ) from None
        try:
          reply = self._parse(sync_client.read(frame))
        except (ServerError, ValueError) as error:
          _LOG.warning('No answer from %s: %s', self._peer.address, error)
          self._note(READY, sync_client.describe(error))
          continue
        self._answer = Answer(reply, stamp, self._clock() - start)
        self._note(READY, '')
    finally:
      closed.cancel()

  async def _next(self, closed: asyncio.Task) -> tuple[bytes, Any]:
    while True:
      if self._closing:
        raise ConnectionError(_CLOSED)
      self._wake.clear()
      with self._lock:
        request, self._unsent = self._unsent, None
      if request is not None:
        return request
      wake = asyncio.create_task(self._wake.wait())
      try:
        await asyncio.wait({wake, closed}, return_when=asyncio.FIRST_COMPLETED)
      finally:
        wake.cancel()
      if closed.done():
        raise ConnectionError('the server ended the connection')

  def _note(self, state: str, cause: str, refused: bool = False) -> None:
    with self._lock:
      self._refused = refused
      self._status = Status(state, cause)
      self._lock.notify_all()


async def _exchange(
  connection: websockets.ClientConnection, frame: bytes
) -> bytes | str:
  await connection.send(frame)
  return await connection.recv()
