import contextlib
import threading
import time

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync import server as sync

from rlt_jax.serving import client as client_module
from rlt_jax.serving import codec
from rlt_jax.serving.client import LOST, READY, VlaClient
from rlt_jax.serving.codec import MessageError
from rlt_jax.serving.server import PolicyServer
from rlt_jax.serving.sync_client import ServerError, SyncClient

_WAIT_S = 30.0  # only a failing test waits that long
_METADATA = {'horizon': 50, 'vla_fingerprint': 'v', 'cameras': ('base',)}


class Gate:
  """An `infer` that waits to be let go."""

  def __init__(self):
    self.running, self.go = threading.Semaphore(0), threading.Semaphore(0)
    self.seen = []

  def __call__(self, request: dict) -> dict:
    self.seen.append(int(request['x'][0]))
    self.running.release()
    assert self.go.acquire(timeout=_WAIT_S)
    return {'x': request['x']}


def echo(request: dict) -> dict:
  if 'fail' in request:
    raise ValueError('as asked')
  return request


def observation(n: int) -> dict:
  return {'x': np.full(2, n, np.float32)}


def address(server) -> str:
  return f'ws://127.0.0.1:{server.port}'


def until(condition):
  limit = time.monotonic() + _WAIT_S
  while not condition():
    assert time.monotonic() < limit
    time.sleep(0.002)


def answered(client, stamp):
  until(lambda: client.latest() and client.latest().stamp == stamp)
  return client.latest()


@contextlib.contextmanager
def peer(handler):
  """A websocket server that is not ours; yields its address."""
  with sync.serve(handler, '127.0.0.1', 0) as server:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'ws://127.0.0.1:{server.socket.getsockname()[1]}'
    server.shutdown()


@pytest.fixture
def server():
  with PolicyServer(echo, _METADATA, port=0) as server:
    yield server


def test_an_answer_has_its_stamp_and_round_trip(server):
  ticks = iter(range(100))
  with VlaClient(address(server), clock=lambda: next(ticks)) as client:
    assert client.latest() is None
    assert client.wait_ready(_WAIT_S)['horizon'] == 50
    client.ask(observation(3), stamp=1.25)
    answer = answered(client, 1.25)
    np.testing.assert_array_equal(answer.reply['x'], [3, 3])
    assert answer.round_trip_s == 1
    assert client.status() == (READY, '')
    assert client.latest() is answer


@pytest.mark.parametrize('make', [VlaClient, SyncClient])
def test_leaving_is_no_fault(make, caplog):
  with PolicyServer(echo, _METADATA, port=0) as server:
    with make(address(server)) as client:
      if make is VlaClient:
        client.wait_ready(_WAIT_S)
  assert not [r for r in caplog.records if r.levelname == 'WARNING']


def test_it_closes_in_the_moment_an_answer_comes(server, monkeypatch):
  exchange = client_module._exchange

  async def close_then_answer(connection, frame):
    reply = await exchange(connection, frame)
    threading.Thread(target=client.close, daemon=True).start()
    time.sleep(0.1)  # blocks the loop: its close waits beside the answer
    return reply

  monkeypatch.setattr(client_module, '_exchange', close_then_answer)
  client = VlaClient(address(server))
  client.ask(observation(1), 1)
  client._thread.join(_WAIT_S)
  assert not client._thread.is_alive()
  assert client.status() == (LOST, 'closed by its owner')


def test_an_older_request_that_waits_is_replaced():
  gate = Gate()
  with PolicyServer(gate, _METADATA, port=0) as server:
    with VlaClient(address(server)) as client:
      client.ask(observation(0), 0)
      assert gate.running.acquire(timeout=_WAIT_S)
      for n in (1, 2, 3):
        client.ask(observation(n), n)
      gate.go.release(4)
      answered(client, 3)
  assert gate.seen == [0, 3]


def test_asking_copies_and_neither_waits_nor_needs_a_server():
  client = VlaClient('ws://127.0.0.1:9')
  x = observation(7)
  client.ask(x, 'a')
  x['x'][:] = 0
  assert codec.unpack(client._unsent[0])['x'][0] == 7
  until(lambda: client.status().state == LOST)
  assert client.status().cause == 'nothing listens there'
  with pytest.raises(
    MessageError, match='must be ready: nothing listens there'
  ):
    client.wait_ready(0.01)
  with pytest.raises(MessageError, match='plain values: object'):
    client.ask({'x': object()}, 'b')
  client.close()
  client.close()
  with pytest.raises(MessageError, match='it was closed'):
    client.ask(observation(0), 'c')


def test_it_connects_again_when_the_server_comes_back():
  with PolicyServer(echo, _METADATA, port=0) as first:
    client = VlaClient(address(first))
    client.ask(observation(1), 1)
    answered(client, 1)
  with client:
    until(lambda: client.status().state == LOST)
    assert client.status().cause
    with PolicyServer(echo, _METADATA, port=first.port):
      client.ask(observation(2), 2)
      answered(client, 2)
      assert client.status() == (READY, '')


@pytest.mark.parametrize(
  'expected, cause',
  [
    ({'vla_fingerprint': 'w'}, "server's vla_fingerprint must be 'w': 'v'"),
    ({'cameras': ('base', 'wrist')}, "server's cameras must be"),
    ({'z_dim': 64}, "server's metadata must have z_dim"),
  ],
)
def test_another_server_is_refused_and_never_asked(expected, cause):
  seen = []
  with PolicyServer(seen.append, _METADATA, port=0) as server:
    with VlaClient(address(server), expected=expected) as client:
      client.ask(observation(0), 0)
      with pytest.raises(MessageError, match=cause):
        client.wait_ready(_WAIT_S)
      assert client.metadata() is None
    with pytest.raises(ValueError, match=cause):
      SyncClient(address(server), expected=expected)
  assert not seen


def test_a_refused_request_is_said_and_the_next_goes_through(server):
  with VlaClient(address(server)) as client:
    client.ask({'fail': True}, 1)
    until(lambda: client.status().cause)
    state, cause = client.status()
    assert state == READY and 'ValueError: as asked' in cause
    assert client.latest() is None
    client.ask(observation(2), 2)
    answered(client, 2)
    assert client.status() == (READY, '')


def test_an_answer_that_breaks_the_schema_is_refused(server):
  def parse(message):
    if not np.isfinite(message['x']).all():
      raise ValueError('x must be finite.')
    return message['x'][0]

  with VlaClient(address(server), parse=parse) as client:
    client.ask(observation(np.nan), 1)
    until(lambda: client.status().cause == 'x must be finite.')
    client.ask(observation(2), 2)
    assert answered(client, 2).reply == 2


def greet(connection, *then):
  connection.send(codec.pack({'horizon': 50}))
  connection.recv()
  for frame in then:
    connection.send(frame)
  connection.recv()  # until the client goes


@pytest.mark.parametrize(
  'reply, cause',
  [
    (b'\xc1', 'valid msgpack'),
    (b'\0' * (codec.MAX_FRAME_BYTES + 1), '1009'),
    ('Traceback: no memory', 'Traceback: no memory'),
    (codec.pack({'superseded': True}), 'a newer request'),
  ],
)
def test_a_hostile_server_does_no_harm(reply, cause):
  with peer(lambda connection: greet(connection, reply)) as where:
    with VlaClient(where) as client:
      client.ask(observation(0), 0)
      until(lambda: cause in client.status().cause)
      assert client.latest() is None


def test_a_server_that_never_answers_is_lost():
  with peer(greet) as where, VlaClient(where, reply_timeout_s=0.1) as client:
    client.wait_ready(_WAIT_S)
    client.ask(observation(0), 0)
    until(lambda: client.status().state == LOST)
    assert client.status().cause == 'no reply within 0.1 s'


def test_a_wrong_token_is_said():
  with PolicyServer(echo, _METADATA, port=0, token='secret') as server:
    with VlaClient(address(server), token='other') as client:
      until(lambda: client.status().state == LOST)
      assert 'HTTP 401: the token must be its own' in client.status().cause
    with pytest.raises(InvalidStatus):
      SyncClient(address(server))
    with SyncClient(address(server), token='secret') as client:
      assert client.infer({'n': 1})['n'] == 1


def test_the_blocking_client(server):
  with SyncClient(address(server), expected={'horizon': 50}) as client:
    assert client.metadata['vla_fingerprint'] == 'v'
    np.testing.assert_array_equal(client.infer(observation(1))['x'], [1, 1])
    with pytest.raises(ServerError, match='ValueError: as asked'):
      client.infer({'fail': True})
    assert client.infer({'n': 2})['n'] == 2


def test_the_blocking_client_does_not_wait_for_ever():
  with peer(greet) as where:
    with SyncClient(where, reply_timeout_s=0.1) as client:
      with pytest.raises(TimeoutError):
        client.infer(observation(0))


@pytest.mark.parametrize('make', [VlaClient, SyncClient])
def test_an_address_must_be_one(make):
  with pytest.raises(ValueError, match="must be such as .*: '127.0.0.1:80'"):
    make('127.0.0.1:80')
