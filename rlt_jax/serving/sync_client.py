"""Asks a policy server and waits for the reply, for scripts."""

import asyncio
from collections.abc import Mapping
import contextlib
import pathlib
from typing import Any
from urllib import parse

from websockets.exceptions import (
  ConnectionClosed,
  InvalidHandshake,
  InvalidStatus,
)
from websockets.sync import client

from rlt_jax.serving import codec, schema

# What `SyncClient` may raise where no server of ours answers.
NO_SERVER = (OSError, ConnectionClosed, InvalidHandshake, codec.MessageError)
CONNECT_TIMEOUT_S = 5.0  # to open, and again for the metadata


class ServerError(Exception):
  """The server answered with an error; the text is the server's."""


class SyncClient:
  """One connection for scripts: `infer` waits for its reply."""

  def __init__(
    self,
    address: str,
    *,
    token: str = '',
    expected: Mapping[str, Any] | None = None,
    reply_timeout_s: float = 60.0,
  ):
    """Connects and checks the metadata.

    Args:
      address: such as ws://127.0.0.1:8000.
      token: sent as `Authorization: Api-Key <token>`; empty for none.
      expected: metadata fields for `schema.check`.
      reply_timeout_s: for one reply.

    Raises:
      OSError, InvalidHandshake: no server there in time, or it refused the
        token.
      ValueError: a server that does not fit, by name.
    """
    check_address(address)
    self._reply_timeout_s = reply_timeout_s
    with contextlib.ExitStack() as stack:
      self._connection = stack.enter_context(
        client.connect(address, **options(token))
      )
      self.metadata = read(self._connection.recv(CONNECT_TIMEOUT_S))
      schema.check(self.metadata, **(expected or {}))
      self._stack = stack.pop_all()  # from here on `close` ends it

  def __enter__(self) -> 'SyncClient':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
    """Returns the reply.

    Raises:
      ServerError: the server's own error.
      MessageError: a request or reply that breaks the rules of `codec`.
      TimeoutError, ConnectionClosed: no reply; make a new client.
    """
    self._connection.send(codec.pack(observation))
    try:
      return read(self._connection.recv(self._reply_timeout_s))
    except TimeoutError:
      self.close()  # a late reply must not answer the next request
      raise

  def close(self) -> None:
    """Ends the connection."""
    self._stack.close()


def options(token: str) -> dict[str, Any]:
  """Returns how both clients connect."""
  headers = {'Authorization': f'Api-Key {token}'} if token else None
  return {
    'additional_headers': headers,
    'compression': None,
    'max_size': codec.MAX_FRAME_BYTES,
    'open_timeout': CONNECT_TIMEOUT_S,
    'close_timeout': 1.0,
    'proxy': None,  # a robot's own network, whatever the environment says
  }


def check_address(address: str) -> None:
  """Raises a ValueError unless the address is a ws:// or wss:// URL."""
  url = parse.urlsplit(address)
  try:
    port_fits = url.port is None or url.port > 0
  except ValueError:  # no number, or above 65535
    port_fits = False
  if url.scheme not in ('ws', 'wss') or not url.hostname or not port_fits:
    raise ValueError(
      'address must be such as ws://127.0.0.1:8000, with a port from 1 to '
      f'65535: {address!r}.'
    )


def read(frame: bytes | str) -> dict[str, Any]:
  """Returns the message of a frame, or raises ServerError or MessageError."""
  if isinstance(frame, str):
    raise ServerError(frame)
  message = codec.unpack(frame)
  if message.get('superseded') is True:
    raise ServerError('a newer request came before this one was run')
  return message


def describe(error: Exception) -> str:
  """Returns what went wrong with a connection, without a full stop."""
  if isinstance(error, ServerError):
    return f'the server answered with an error: {error}'
  # Python 3.10 has two of this name.
  if isinstance(error, (TimeoutError, asyncio.TimeoutError)):  # noqa: UP041
    return f'no connection within {CONNECT_TIMEOUT_S:g} s'
  if isinstance(error, ConnectionRefusedError):
    return 'nothing listens there'
  if isinstance(error, InvalidStatus):
    code = error.response.status_code
    return f'the server refused the connection with HTTP {code}' + (
      ': the token must be its own' if code == 401 else ''
    )
  if isinstance(error, ConnectionClosed):
    return f'the connection ended: {error}'
  if isinstance(error, InvalidHandshake):
    return f'this is no policy server: {error}'
  return str(error) or type(error).__name__


def read_address(text: str) -> tuple[str, str]:
  """Returns the address and the path of the token file in a text.

  Args:
    text: 'ws://host:port' or 'ws://host:port?token_file=PATH'.

  Raises:
    ValueError: any other query.
  """
  url = parse.urlsplit(text)
  query = parse.parse_qs(url.query, keep_blank_values=True)
  if set(query) - {'token_file'}:
    raise ValueError(
      f"A VLA's address may have '?token_file=PATH' and no other query: "
      f'{text!r}.'
    )
  address = parse.urlunsplit(url._replace(query=''))
  return address, query.get('token_file', [''])[0]


def resolve_token_file(text: str, folder: pathlib.Path) -> str:
  """Returns an address whose token file is seen from `folder`."""
  address, token_file = read_address(text)
  if not token_file:
    return address
  query = parse.urlencode({'token_file': str(folder / token_file)}, safe='/')
  return f'{address}?{query}'


def read_token(path: str) -> str:
  """Returns the text that a server asks for; '' for the path ''.

  Raises:
    ValueError: there is no such file, or it is empty.
  """
  if not path:
    return ''
  file = pathlib.Path(path)
  token = file.read_text('utf-8').strip() if file.is_file() else ''
  if not token:
    raise ValueError(
      'token_file in the address of a VLA must be the file with the text that '
      f'the server asks for: {path!r}.'
    )
  return token
