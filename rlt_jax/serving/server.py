"""Serves any function from message to message to openpi's clients.

The first frame of a connection is the metadata; then every request gets
exactly one frame, in the order of the requests:

  binary  the reply, with `server_timing` added
  binary  {'superseded': True}: a newer request of this connection came before
          this one's turn, so it was never run
  text    the error's kind and text; the connection stays open unless the frame
          was no message at all (then it is closed with 1007)

One request runs at a time, in a thread of its own, so that health and pings
are answered meanwhile. Each connection has one place to wait, and its newest
request takes it. Connections never supersede each other: they take turns, in
the order in which they asked.

`GET /healthz` answers 200. Web pages, which send an Origin, are refused: one
must not be able to move an arm through the browser of its operator.
"""

import asyncio
from collections.abc import Callable
from concurrent import futures
import hmac
import http
import ipaddress
import logging
import pathlib
import threading
import time
import traceback
from typing import Any, NamedTuple

from websockets.asyncio import server as websockets
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from rlt_jax.serving import codec

PORT = 8000
_LOG = logging.getLogger(__name__)
_SUPERSEDED = codec.pack({'superseded': True})
_MAX_ERROR = 2000  # characters
_MAX_LOG = 300  # characters of a client's in a line of the log
_LINES_PER_MINUTE = 60
MAX_CONNECTIONS = 16  # a robot has one, practice has one


def read_secret(path: str) -> str:
  """Returns the token that clients must send; '' without a file.

  Raises:
    ValueError: the file is empty.
    OSError: it cannot be read.
  """
  if not path:
    return ''
  text = pathlib.Path(path).read_text('utf-8').strip()
  if not text:
    raise ValueError(f'token_file must hold a token: {path}.')
  return text


def check_host(host: str, token: str) -> None:
  """Raises a ValueError for a host beyond loopback without a token."""
  try:
    loopback = ipaddress.ip_address(host).is_loopback
  except ValueError:
    loopback = host == 'localhost'
  if not token and not loopback:
    raise ValueError(
      f'host must be loopback, such as 127.0.0.1, without a token: {host!r}.'
    )


class LineLimit(logging.Filter):
  """Lets so many lines of a logger pass each minute, and counts the others.

  What a hostile or broken client makes a server say must not fill the disk.
  """

  def __init__(
    self,
    per_minute: int = _LINES_PER_MINUTE,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Takes the number, and the clock, s."""
    super().__init__()
    self._per_minute, self._clock = per_minute, clock
    self._minute, self._passed, self._left_out = clock(), 0, 0

  def filter(self, record: logging.LogRecord) -> bool:
    """Returns whether a line passes."""
    now = self._clock()
    if now - self._minute >= 60.0:
      if self._left_out:
        record.msg = f'({self._left_out} lines were left out.) {record.msg}'
      self._minute, self._passed, self._left_out = now, 0, 0
    self._passed += 1
    self._left_out += self._passed > self._per_minute
    return self._passed <= self._per_minute


class _Inbox:
  """The newest request of one connection."""

  def __init__(self):
    self.filled = asyncio.Event()
    self._frame: tuple[bytes | str, float] | None = None
    self._superseded = 0

  def put(self, frame: bytes | str) -> None:
    self._superseded += self._frame is not None
    self._frame = frame, time.monotonic()
    self.filled.set()

  def take(self) -> tuple[bytes | str, float, int]:
    frame, arrived = self._frame
    superseded = self._superseded
    self._frame, self._superseded = None, 0
    self.filled.clear()
    return frame, arrived, superseded


class _Caps(NamedTuple):
  """What clients may use of the server."""

  frame_bytes: int
  connections: int


class PolicyServer:
  """A websocket server around `infer`.

  `with` runs it in a thread of its own; `serve_forever` in this one.
  """

  def __init__(
    self,
    infer: Callable[[dict[str, Any]], dict[str, Any]],
    metadata: dict[str, Any],
    *,
    host: str = '127.0.0.1',
    port: int = PORT,
    token: str = '',
    max_frame_bytes: int = codec.MAX_FRAME_BYTES,
    max_connections: int = MAX_CONNECTIONS,
  ):
    """Opens nothing yet.

    Args:
      infer: request to reply, as `serving.codec` packs them; called from one
        thread, one call at a time. A ValueError is the client's mistake.
      metadata: the first frame; see `serving.schema.ServingSpec`.
      host: address to listen on. Beyond loopback it needs a token.
      port: 0 takes a free one; `port` is then the one taken.
      token: what clients must send, as `Authorization: Api-Key <token>`.
      max_frame_bytes: a larger request ends its connection. Each connection
        may hold one that is not finished.
      max_connections: further ones are refused with HTTP 503.

    Raises:
      ValueError: a host beyond loopback without a token.
      MessageError: metadata that `codec.pack` refuses.
    """
    check_host(host, token)
    self.host, self.port = host, port
    self._infer = infer
    self._hello = codec.pack(metadata)
    self._token = token
    self._caps = _Caps(max_frame_bytes, max_connections)
    self._num_connections = 0
    self._log = logging.Logger(_LOG.name)
    self._log.parent = _LOG
    self._log.addFilter(LineLimit())
    self._ready = threading.Event()
    self._failure: BaseException | None = None

  def serve_forever(self) -> None:
    """Serves until the process is interrupted.

    Raises:
      OSError: the address is taken or not this machine's.
    """
    asyncio.run(self._main())

  def __enter__(self) -> 'PolicyServer':
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()
    self._ready.wait()
    if self._failure is not None:
      raise self._failure
    return self

  def __exit__(self, *_) -> None:
    self._loop.call_soon_threadsafe(self._stop.set)
    self._thread.join()

  def _run(self) -> None:
    try:
      asyncio.run(self._main())
    except Exception as error:  # __enter__ raises it in the caller's thread
      self._failure = error
    finally:
      self._ready.set()

  async def _main(self) -> None:
    self._loop = asyncio.get_running_loop()
    self._loop.set_exception_handler(self._on_fault)
    self._stop = asyncio.Event()
    self._turn = asyncio.Lock()  # FIFO, which is what makes turns fair
    self._pool = futures.ThreadPoolExecutor(1, 'infer')
    try:
      async with websockets.serve(
        self._serve,
        self.host,
        self.port,
        compression=None,
        max_size=self._caps.frame_bytes,
        max_queue=2,
        origins=[None],
        close_timeout=1.0,
        process_request=self._admit,
        logger=self._log,
      ) as server:
        self.port = server.sockets[0].getsockname()[1]
        self._log.info('Serving on %s, port %d.', self.host, self.port)
        self._ready.set()
        await self._stop.wait()
    finally:
      self._pool.shutdown(wait=False, cancel_futures=True)

  def _on_fault(
    self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
  ) -> None:
    """Logs in a line what asyncio would log with a traceback each time."""
    del loop
    error = context.get('exception')
    self._log.error('%s: %s', context.get('message'), _short(error))

  def _admit(
    self, connection: websockets.ServerConnection, request: Request
  ) -> Response | None:
    if request.path == '/healthz':
      return connection.respond(http.HTTPStatus.OK, 'OK\n')
    if self._num_connections >= self._caps.connections:
      self._log.warning(
        'Refused %s: at most %d connections may be open.',
        connection.remote_address,
        self._caps.connections,
      )
      return connection.respond(
        http.HTTPStatus.SERVICE_UNAVAILABLE, 'Too many connections are open.\n'
      )
    if not self._token:
      return None
    given = request.headers.get_all('Authorization')
    wanted = f'Api-Key {self._token}'.encode()
    if len(given) == 1 and hmac.compare_digest(
      given[0].encode('utf-8', 'surrogateescape'), wanted
    ):
      return None
    self._log.warning(
      'Refused %s: it did not send the token.', connection.remote_address
    )
    return connection.respond(
      http.HTTPStatus.UNAUTHORIZED, 'Authorization must be Api-Key <token>.\n'
    )

  async def _serve(self, connection: websockets.ServerConnection) -> None:
    peer = connection.remote_address
    inbox = _Inbox()
    self._num_connections += 1
    answering = asyncio.create_task(self._answer(connection, inbox))
    try:
      async for frame in connection:
        inbox.put(frame)
    except ConnectionClosed as error:
      # Not an error of ours: a cut link, or a frame that was refused.
      self._log.warning('Lost %s: %s.', peer, _short(error))
    finally:
      self._num_connections -= 1
      answering.cancel()
      await asyncio.gather(answering, return_exceptions=True)

  async def _answer(
    self, connection: websockets.ServerConnection, inbox: _Inbox
  ) -> None:
    peer = connection.remote_address
    timing = {}
    try:
      await connection.send(self._hello)
      while True:
        await inbox.filled.wait()
        async with self._turn:
          if connection.state is not State.OPEN:
            return  # It left while it waited.
          frame, arrived, superseded = inbox.take()
          reply, code = await self._loop.run_in_executor(
            self._pool, self._work, frame, timing, peer
          )
        for _ in range(superseded):
          await connection.send(_SUPERSEDED)
        await connection.send(reply)
        if code is not None:
          await connection.close(
            code, 'Refused; the reason is in the text before.'
          )
          return
        timing = {'prev_total_ms': (time.monotonic() - arrived) * 1e3}
    except ConnectionClosed:
      return

  def _work(
    self, frame: bytes | str, timing: dict[str, float], peer: Any
  ) -> tuple[bytes | str, CloseCode | None]:
    """Returns the frame to answer with; a code if the connection must end."""
    try:
      request = codec.unpack(frame)
    except codec.MessageError as error:
      self._log.warning('Refused a frame of %s: %s', peer, _short(error))
      return _text(error), CloseCode.INVALID_DATA
    try:
      start = time.monotonic()
      reply = dict(self._infer(request))
      infer_ms = (time.monotonic() - start) * 1e3
      reply['server_timing'] = {'infer_ms': infer_ms} | timing
      return codec.pack(reply), None
    except ValueError as error:
      self._log.warning('Refused a request of %s: %s', peer, _short(error))
      return _text(error), None
    except Exception as error:  # the traceback is for the log, not the client
      self._log.error('A request of %s failed.\n%s', peer, _trace(error))
      return _text(error), None


def _short(error: BaseException | None) -> str:
  """Returns an error's text for the log, which a client may have written."""
  text = str(error)
  more = f'... ({len(text)} characters)' if len(text) > _MAX_LOG else ''
  return repr(text[:_MAX_LOG] + more)[1:-1]  # without line breaks


def _trace(error: BaseException) -> str:
  """Returns an error's traceback, without the part that a client wrote."""
  lines = traceback.format_tb(error.__traceback__)
  return ''.join([*lines, f'{type(error).__name__}: {_short(error)}'])


def _text(error: Exception) -> str:
  text = f'{type(error).__name__}: {error}'[:_MAX_ERROR]
  # A lone surrogate, as an odd file name has it, cannot be sent.
  return text.encode('utf-8', 'replace').decode()
