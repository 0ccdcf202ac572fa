import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync import client as sync

from rlt_jax.serving import codec, schema
from rlt_jax.serving.server import LineLimit, PolicyServer
from tests.robot.fakes import WIRE

_WAIT_S = 30.0  # only a failing test waits that long


class Gate:
  """An `infer` that signals its start and waits until it may return."""

  def __init__(self):
    self.running = threading.Semaphore(0)
    self.go = threading.Semaphore(0)
    self.order = []

  def __call__(self, request: dict) -> dict:
    self.order.append(request['n'])
    self.running.release()
    assert self.go.acquire(timeout=_WAIT_S)
    return {'n': request['n']}


def echo(request: dict) -> dict:
  if 'fail' in request:
    raise {'value': ValueError, 'key': KeyError}[request['fail']]('as asked')
  return request


def connect(server, **options):
  options = {'compression': None, 'max_size': None, 'proxy': None} | options
  return sync.connect(f'ws://127.0.0.1:{server.port}', **options)


@contextlib.contextmanager
def greeted(server, **options):
  with connect(server, **options) as connection:
    assert codec.unpack(connection.recv(_WAIT_S)) == {'horizon': 50}
    yield connection


def ask(connection, message):
  connection.send(codec.pack(message))
  frame = connection.recv(_WAIT_S)
  return frame if isinstance(frame, str) else codec.unpack(frame)


def health(server) -> int:
  url = f'http://127.0.0.1:{server.port}/healthz'
  opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
  return opener.open(url, timeout=_WAIT_S).status


@pytest.fixture
def server():
  with PolicyServer(echo, {'horizon': 50}, port=0) as server:
    yield server


@pytest.fixture
def gated():
  gate = Gate()
  with PolicyServer(gate, {'horizon': 50}, port=0) as server:
    yield server, gate
    gate.go.release(100)


def test_metadata_first_then_one_reply_a_request(server):
  with greeted(server) as connection:
    for i in range(3):
      reply = ask(connection, {'x': np.full(2, i, np.float32)})
      np.testing.assert_array_equal(reply['x'], [i, i])
      assert reply['server_timing']['infer_ms'] >= 0.0
      assert ('prev_total_ms' in reply['server_timing']) == (i > 0)


def test_health_is_answered_while_it_infers(gated):
  server, gate = gated
  with greeted(server) as connection:
    connection.send(codec.pack({'n': 0}))
    assert gate.running.acquire(timeout=_WAIT_S)
    assert health(server) == 200
    assert connection.ping().wait(_WAIT_S)


def test_the_newest_request_of_a_connection_wins(gated):
  server, gate = gated
  with greeted(server) as connection:
    connection.send(codec.pack({'n': 0}))
    assert gate.running.acquire(timeout=_WAIT_S)
    for n in (1, 2, 3):
      connection.send(codec.pack({'n': n}))
    connection.ping().wait(_WAIT_S)  # the server has read all of them
    gate.go.release(2)
    replies = [codec.unpack(connection.recv(_WAIT_S)) for _ in range(4)]
  assert [r.get('n') for r in replies] == [0, None, None, 3]
  assert [r.get('superseded') for r in replies] == [None, True, True, None]
  assert gate.order == [0, 3]


def test_connections_take_turns(gated):
  server, gate = gated
  with greeted(server) as a, greeted(server) as b:
    a.send(codec.pack({'n': 'a0'}))
    assert gate.running.acquire(timeout=_WAIT_S)
    for connection, n in ((b, 'b0'), (a, 'a1'), (b, 'b1'), (a, 'a2')):
      connection.send(codec.pack({'n': n}))
      connection.ping().wait(_WAIT_S)
    gate.go.release(3)
    from_a = [codec.unpack(a.recv(_WAIT_S)).get('n') for _ in range(3)]
    from_b = [codec.unpack(b.recv(_WAIT_S)).get('n') for _ in range(2)]
  assert (from_a, from_b) == (['a0', None, 'a2'], [None, 'b1'])
  assert gate.order == ['a0', 'b1', 'a2']


def test_who_leaves_while_waiting_is_not_run(gated):
  server, gate = gated
  with greeted(server) as a:
    a.send(codec.pack({'n': 'a'}))
    assert gate.running.acquire(timeout=_WAIT_S)
    with greeted(server) as b:
      b.send(codec.pack({'n': 'b'}))
    gate.go.release(2)
    assert codec.unpack(a.recv(_WAIT_S))['n'] == 'a'
    assert ask(a, {'n': 'c'})['n'] == 'c'
  assert gate.order == ['a', 'c']


@pytest.mark.parametrize('kind', ['value', 'key'])
def test_an_error_is_a_text_frame_and_the_connection_stays(server, kind):
  with greeted(server) as connection:
    text = ask(connection, {'fail': kind})
    assert isinstance(text, str) and 'Error' in text and 'as asked' in text
    assert '\n' not in text and __file__ not in text
    assert ask(connection, {'x': 1})['x'] == 1


def test_a_reply_that_is_no_message_is_an_error():
  with PolicyServer(lambda _: {'x': object()}, {'horizon': 50}, port=0) as s:
    with greeted(s) as connection:
      assert 'MessageError' in ask(connection, {})


@pytest.mark.parametrize(
  'frame, code',
  [
    (b'\xc1garbage', 1007),
    ('text', 1007),
    (b'\x81\xa1x' * 1000, 1007),
    (b'\0' * 5000, 1009),
  ],
)
def test_a_hostile_frame_ends_only_its_own_connection(frame, code, caplog):
  with PolicyServer(
    echo, {'horizon': 50}, port=0, max_frame_bytes=4000
  ) as server:
    with greeted(server) as other, caplog.at_level(logging.WARNING):
      with greeted(server) as hostile:
        hostile.send(frame)
        with pytest.raises(ConnectionClosed) as caught:
          text = hostile.recv(_WAIT_S)
          assert 'MessageError' in text
          hostile.recv(_WAIT_S)
        assert caught.value.rcvd.code == code
      assert ask(other, {'x': 1})['x'] == 1
    with greeted(server) as later:
      assert ask(later, {'x': 2})['x'] == 2
  assert any(r.name == 'rlt_jax.serving.server' for r in caplog.records)


def test_bytes_that_are_no_http_do_no_harm(server):
  with socket.create_connection(('127.0.0.1', server.port)) as raw:
    raw.sendall(b'\0\xff\r\n\r\n')
    raw.settimeout(_WAIT_S)
    raw.recv(1000)
  with greeted(server) as connection:
    assert ask(connection, {'x': 1})['x'] == 1


@pytest.mark.parametrize('host', ['0.0.0.0', '192.168.1.2', '::', '', 'robot'])
def test_beyond_loopback_it_wants_a_token(host):
  with pytest.raises(ValueError, match='host must be loopback'):
    PolicyServer(echo, {}, host=host)
  PolicyServer(echo, {}, host=host, token='secret')


def test_the_token_is_checked():
  with PolicyServer(echo, {'horizon': 50}, port=0, token='secret') as server:
    for given in ('', 'Api-Key', 'Api-Key other', 'Bearer secret'):
      headers = {'Authorization': given} if given else {}
      with pytest.raises(InvalidStatus) as caught:
        with connect(server, additional_headers=headers):
          pass
      assert caught.value.response.status_code == 401
    assert health(server) == 200
    headers = {'Authorization': 'Api-Key secret'}
    with greeted(server, additional_headers=headers) as connection:
      assert ask(connection, {'x': 1})['x'] == 1


def test_a_web_page_is_refused(server):
  with pytest.raises(InvalidStatus) as caught:
    with connect(server, origin='http://localhost:3000'):
      pass
  assert caught.value.response.status_code == 403


def test_a_port_that_is_taken_is_said_so(server):
  with pytest.raises(OSError, match='address already in use'):
    with PolicyServer(echo, {}, port=server.port):
      pass


def test_metadata_must_be_a_message():
  with pytest.raises(codec.MessageError, match='plain values'):
    PolicyServer(echo, {'x': json})


def test_too_many_connections_are_refused_and_the_others_go_on():
  with PolicyServer(echo, {'horizon': 50}, port=0, max_connections=3) as server:
    with contextlib.ExitStack() as stack:
      kept = [stack.enter_context(greeted(server)) for _ in range(3)]
      for _ in range(20):
        with pytest.raises(InvalidStatus, match='503'):
          connect(server)
      assert health(server) == 200
      for i, connection in enumerate(kept):
        assert ask(connection, {'n': i})['n'] == i
    for _ in range(100):  # a place is free again once one has left
      try:
        with greeted(server) as connection:
          assert ask(connection, {'n': 9})['n'] == 9
        break
      except InvalidStatus:
        time.sleep(0.05)
    else:
      raise AssertionError('no place was given back')


def test_a_frame_larger_than_a_request_ends_its_connection():
  size = schema.max_request_bytes(WIRE)
  request = schema.make_request(
    WIRE, images={'wrist': np.zeros((8, 8, 3), np.uint8)},
    proprio=np.zeros(6), prompt='x' * 2000,
  )  # fmt: skip
  assert len(codec.pack(request)) < size < 1 << 18
  with PolicyServer(
    echo, {'horizon': 50}, port=0, max_frame_bytes=size
  ) as server:
    with greeted(server) as connection:
      assert ask(connection, request)['prompt'] == 'x' * 2000
      with pytest.raises(ConnectionClosed, match='1009'):
        ask(connection, {'prompt': 'x' * size})


def test_a_line_of_the_log_is_short_whatever_the_client_sent(caplog):
  def infer(request):
    kind = {'value': ValueError, 'key': KeyError}[request['kind']]
    raise kind(request['prompt'])

  caplog.set_level(logging.INFO)
  with PolicyServer(infer, {'horizon': 50}, port=0) as server:
    with greeted(server) as connection:
      for kind in ('value', 'key'):
        text = ask(connection, {'prompt': 'a\n' * 500_000, 'kind': kind})
        assert len(text) < 3000
  assert 'Refused a request' in caplog.text and 'failed' in caplog.text
  assert len(caplog.text) < 6000
  assert '1000000 characters' in caplog.text


def test_a_client_cannot_fill_the_log(caplog):
  caplog.set_level(logging.INFO)
  with PolicyServer(echo, {'horizon': 50}, port=0) as server:
    with greeted(server) as connection:
      for _ in range(500):
        ask(connection, {'fail': 'value'})
  lines = [x for x in caplog.records if 'Refused' in x.getMessage()]
  assert 0 < len(lines) <= 60


def test_the_lines_left_out_are_counted_a_minute_later():
  now = [0.0]
  limit = LineLimit(2, clock=lambda: now[0])
  record = logging.makeLogRecord({'msg': 'again'})
  assert [limit.filter(record) for _ in range(5)] == [True] * 2 + [False] * 3
  now[0] = 61.0
  assert limit.filter(record)
  assert record.getMessage() == '(3 lines were left out.) again'


def test_a_server_without_file_descriptors_says_so_in_lines(tmp_path):
  """Its own process with 40 of them, and 80 connections that say nothing."""
  code = """
import logging, resource, sys
from rlt_jax.serving.server import PolicyServer
logging.basicConfig(level=logging.INFO)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
with PolicyServer(dict, {'horizon': 50}, port=0) as server:
  print(server.port, flush=True)
  sys.stdin.readline()
"""
  with open(tmp_path / 'log', 'wb') as log:
    process = subprocess.Popen(
      [sys.executable, '-c', code], stdin=subprocess.PIPE,
      stdout=subprocess.PIPE, stderr=log,
    )  # fmt: skip
    port = int(process.stdout.readline())
    taken = []
    for _ in range(80):
      taken.append(socket.create_connection(('127.0.0.1', port)))
    time.sleep(2.5)
    for connection in taken:
      connection.close()
    deadline = time.monotonic() + _WAIT_S
    while True:  # it has recovered
      try:
        with sync.connect(
          f'ws://127.0.0.1:{port}', proxy=None, open_timeout=2
        ) as connection:
          connection.recv(_WAIT_S)
        break
      except OSError:
        assert time.monotonic() < deadline
    process.communicate(b'\n', timeout=_WAIT_S)
  assert process.returncode == 0
  assert 'out of system resource' in (tmp_path / 'log').read_text()
  assert (tmp_path / 'log').stat().st_size < 100_000
