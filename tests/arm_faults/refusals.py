"""What must never reach an arm, and what must never stop its server."""

import contextlib
import logging
import signal
import socket
import time

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync import client as websockets

from rlt_jax.robot import robot_setup, shadow_rows
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.shadow_rows import ShadowRows
from rlt_jax.serving import codec, schema
from rlt_jax.serving.server import PolicyServer
from tests.arm_faults.cases import Context, damaged, Tally
from tests.arm_faults.rig import Rig, Server, wait_for
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import BUNDLE, WIRE
from tests.robot.test_runtime import infer, write_bundle
from tests.robot.test_station import wrong_files

_PLACES = 8  # of the server
_FLOOD = 12  # clients that do harm at a time


def bundles(context: Context) -> Tally:
  """Flips and cuts in every file of a bundle: refused by the folder's name."""
  tally, folder = context.tally, context.fresh('bundles')
  write_bundle(folder)
  for _ in range(context.count):
    path = context.rng.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    changed = damaged(content, context.rng)
    path.write_bytes(changed)
    try:
      spec, _ = bundle_lib.load(folder)
      fine = changed == content and spec == BUNDLE
      tally.add([] if fine else [f'{path.name}: it was loaded'])
    except ValueError as error:
      named = str(folder) in str(error)
      tally.add([] if named else [f'{path.name}: {error}'])
    finally:
      path.write_bytes(content)
  return tally


def stations(context: Context) -> Tally:
  """Wrong fields in a station's and an arm's file: built, or named in words."""
  tally, folder = context.tally, context.fresh('stations')
  folder.mkdir()
  cases = list(wrong_files(folder))
  for field, value, change in context.rng.sample(
    cases, min(context.count, len(cases))
  ):
    path = change()
    try:
      with contextlib.ExitStack() as stack:
        robot_setup.build(str(path), FakeClock(), stack)
      tally.add([])
    except (ValueError, OSError) as error:
      named = str(folder) in str(error)
      tally.add([] if named else [f'{field} = {value!r}: {error}'])
    except Exception as error:
      tally.add([f'{field} = {value!r}: {type(error).__name__}: {error}'])
  return tally


def hostile_clients(context: Context) -> Tally:
  """Silent, unfinished, wrong and too many clients: each answer stays right."""
  tally, size = context.tally, schema.max_request_bytes(WIRE)
  for name in ('rlt_jax.serving', 'websockets'):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  with PolicyServer(
    infer,
    WIRE.metadata(),
    port=0,
    max_frame_bytes=size,
    max_connections=_PLACES,
  ) as server:
    address = f'ws://127.0.0.1:{server.port}'
    with websockets.connect(address, proxy=None) as steady:
      steady.recv(60.0)
      for number in range(context.count):
        with contextlib.ExitStack() as stack:
          for _ in range(_FLOOD):
            _harm(server.port, address, context, size, stack)
          tally.add(_ask(steady, number))
  return tally


def _harm(port, address, context, size, stack) -> None:
  rng = context.rng
  kind = rng.choice(['silent', 'unfinished', 'garbage', 'large', 'text'])
  raw = socket.create_connection(('127.0.0.1', port), 60.0)
  stack.callback(raw.close)
  if kind == 'silent':
    return
  if kind == 'garbage':
    raw.sendall(rng.randbytes(rng.randrange(1, 4096)))
    return
  try:
    client = websockets.connect(address, proxy=None)
    stack.callback(client.close_socket)
    if kind == 'unfinished':  # of a frame that promises `size` bytes
      head = b'\x82\xff' + size.to_bytes(8, 'big') + bytes(4)
      client.socket.sendall(head + bytes(size // 2))
    else:
      client.send(rng.randbytes(2 * size) if kind == 'large' else 'x' * 1000)
  except (InvalidStatus, ConnectionClosed, OSError):
    return  # no place is free, or the server has ended it


def _ask(client, number: int) -> list[str]:
  proprio = np.full(WIRE.proprio_dim, 0.01 * (number % 50), np.float32)
  images = {'wrist': np.zeros((8, 8, 3), np.uint8)}
  request = schema.make_request(
    WIRE, images=images, proprio=proprio, prompt='insert'
  )
  client.send(codec.pack(request))
  frame = client.recv(60.0)
  if isinstance(frame, str):
    return [f'a right request was answered with {frame}']
  found = schema.read_reply(WIRE, codec.unpack(frame))
  expected = schema.read_reply(WIRE, infer(request))
  same = np.array_equal(found.actions, expected.actions)
  return [] if same else ['an answer was of another request']


def shadow(context: Context) -> Tally:
  """Shadow runs, ended by signals and kills: the arm gets no call at all."""
  tally, server = context.tally, Server()
  try:
    for number in range(context.count):
      rig = Rig(
        context.fresh(f'shadow{number}'), server.port, watchdog_timeout_s=0.5
      )
      try:
        rig.start('--shadow', '--num_base_episodes=1', minutes=0.0)
        wait_for(lambda rig=rig: _num_steps(rig) > 5, 'a control step')
        time.sleep(context.rng.uniform(0.1, 2.0))
        seen = _num_steps(rig)
        how = context.rng.choice([signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
        rig.signal(how)
        rig.wait()
        time.sleep(1.0)  # a watchdog would have held by now
        calls = {x[2] for x in rig.calls()}
        faults = [f'the arm got {x}' for x in calls - {'connect', 'disconnect'}]
        if how != signal.SIGKILL and not (rig.workdir / 'shadow.md').exists():
          faults.append('shadow.md is missing')
        if len(ShadowRows(rig.workdir).rows) < seen:
          faults.append('steps are lost')
        tally.add(faults)
      finally:
        rig.stop()
  finally:
    server.kill()
  return tally


def _num_steps(rig: Rig) -> int:
  path = rig.workdir / shadow_rows.FILE
  return path.read_bytes().count(b'\n') if path.exists() else 0
