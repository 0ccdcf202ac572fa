"""A station's file, and what is built from it."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from rlt_jax.lock import LockedError
from rlt_jax.robot import arms, robot_setup, station
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.serving.codec import MessageError
from rlt_jax.serving.server import PolicyServer
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import ARM, BUNDLE, WIRE

STATION = {
  'name': 'test',
  'arm': 'fake',
  'arm_arguments': {},
  'arm_spec': 'arm.json',
  'cameras': 'fake',
  'camera_names': ['wrist'],
  'camera_arguments': {'size': 8},
  'max_camera_age_s': 0.1,
  'frozen_camera_timeout_s': 0.3,
  'control_hz': 50.0,
  'vla': 'ws://127.0.0.1:9',
  'bundle': 'bundle',
  'time_limit': 100,
  'start_in_critical_phase': True,
  'operator': 'tests.robot.test_station:make_operator',
  'operator_arguments': {'name': 'scripted'},
  'align_tolerance': [0.1, 0.1, 0.01],
  'keep_tolerance': [0.1, 0.1, 0.01],
  'stow_after_hold_s': None,
  'disable_after_stow_s': None,
  'watchdog_timeout_s': None,
  'watchdog_connect': 'start',
}


def make_operator(*, clock, name):
  return Scripted([], name=name, clock=clock)


def write(folder, *, without=(), arm_without=(), name='rig', **changes):
  arm = dataclasses.asdict(ARM) | {'name': name}
  for field in arm_without:
    del arm[field]
  (folder / 'arm.json').write_text(json.dumps(arm))
  record = {k: v for k, v in STATION.items() if k not in without} | changes
  path = folder / 'station.json'
  path.write_text(json.dumps(record))
  return path


def test_a_station_is_built_under_a_lock(tmp_path):
  path = write(tmp_path, name=f'test-{tmp_path.name}')
  with contextlib.ExitStack() as stack:
    setup = robot_setup.build(str(path), FakeClock(), stack)
    assert isinstance(setup.arm, FakeArm) and setup.time_limit == 100
    assert setup.cameras.shapes == {'wrist': (8, 8, 3)}
    assert setup.operator.name == 'scripted'
    assert setup.bundle == str(tmp_path / 'bundle')
    setup.arm.observe()  # connected
    with pytest.raises(LockedError, match='must have one user'):
      robot_setup.build(str(path), FakeClock(), stack)
  with contextlib.ExitStack() as stack:
    robot_setup.build(str(path), FakeClock(), stack)  # given back


@pytest.mark.parametrize('field', sorted(STATION))
def test_every_field_must_be_there(tmp_path, field):
  path = write(tmp_path, without=[field])
  with pytest.raises(ValueError, match=rf"station.json: .*: no \['{field}'\]"):
    station.load(path)


@pytest.mark.parametrize(
  'field', ['max_step', 'max_velocity', 'joint_low', 'max_action_age_s']
)
def test_a_limit_that_the_safety_limits_needs_must_be_there(tmp_path, field):
  path = write(tmp_path, arm_without=[field])
  with pytest.raises(ValueError, match=field):
    station.load(path)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'arm': 'unknown'}, "arm must be one of .*: 'unknown'."),
    ({'time_limit': 0}, 'time_limit must be positive: 0.'),
    ({'time_limit': '5 s'}, "Station.time_limit must be int: '5 s'"),
    ({'color': 'red'}, "Station has no field 'color'"),
    ({'camera_names': []}, 'camera_names must be distinct'),
    ({'keep_tolerance': [0.1]}, 'an entry per joint, 3: 1.'),
    ({'watchdog_timeout_s': -1}, 'watchdog_timeout_s must be positive or null'),
  ],
)
def test_a_wrong_field_is_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    station.load(write(tmp_path, **change))


def _serve(metadata):
  server = pytest.importorskip('rlt_jax.serving.server')
  return server.PolicyServer(lambda request: request, metadata, port=0)


def test_the_bundles_vla_is_accepted():
  with _serve(WIRE.metadata()) as server:
    client, wire = station.connect_vla(
      f'ws://127.0.0.1:{server.port}', BUNDLE, 10.0
    )
    client.close()
  assert wire == WIRE


@pytest.mark.parametrize(
  'change',
  [
    {'joint_names': ('b', 'a', 'grip')},
    {'cameras': ('other',)},
    {'action_scale': (0.1, 0.1, 0.1)},
    {'vla_fingerprint': 'xyz'},
    {'token_fingerprint': 'xyz'},
  ],
)
def test_another_vla_is_refused_by_name(change):
  with _serve(WIRE.metadata() | change) as server:
    with pytest.raises(MessageError, match=next(iter(change))):
      station.connect_vla(f'ws://127.0.0.1:{server.port}', BUNDLE, 10.0)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'control_hz': 25.0}, 'control_hz must be 50.0: 25.0'),
    ({'horizon': 3}, 'together, 4: 3'),
    ({'proprio_std': (1.0,) * 6}, 'proprio_std must be'),
  ],
)
def test_a_vla_of_another_rate_or_length_is_refused(change, message):
  with _serve(WIRE.metadata() | change) as server:
    with pytest.raises(ValueError, match=message):
      station.connect_vla(f'ws://127.0.0.1:{server.port}', BUNDLE, 10.0)


def test_the_loop_gives_the_servers_token(tmp_path):
  """Named in the station's file, beside it, as a real server asks for it."""
  (tmp_path / 'secret.txt').write_text('open sesame\n')
  server = PolicyServer(dict, WIRE.metadata(), port=0, token='open sesame')
  with server:
    address = f'ws://127.0.0.1:{server.port}'
    path = write(tmp_path, vla=f'{address}?token_file=secret.txt')
    client, _ = station.connect_vla(station.load(path)[0].vla, BUNDLE, 10.0)
    client.close()
    with pytest.raises(MessageError, match='HTTP 401'):
      station.connect_vla(address, BUNDLE, 1.0)
    with pytest.raises(ValueError, match="server asks for: '.*/none.txt'"):
      station.connect_vla(f'{address}?token_file={tmp_path}/none.txt', BUNDLE,
                          1.0)  # fmt: skip


_WRONG = (
  *(None, True, -1, 0, 1e400, 'text', '', [], ['a', 'b', 'a'], {}, {'a': 1}),
  *([[]], 'no_module:make', 'os:no_function', 'sys:path'),
)


def wrong_files(folder):
  """Yields every file with one field replaced by what it must not be."""
  for field in STATION:
    for value in _WRONG:
      yield field, value, lambda v=value, f=field: write(folder, **{f: v})
  for argument in ({'unknown': 1}, {'faults': 'x'}, {'tau_s': 'x'},
                   {'start': 3}, {'size': 'x'}):  # fmt: skip
    for field in ('arm_arguments', 'camera_arguments', 'operator_arguments'):
      yield field, argument, lambda v=argument, f=field: write(folder, **{f: v})
  for field in dataclasses.asdict(ARM):
    for value in _WRONG:

      def change(v=value, f=field):
        path = write(folder)
        arm = json.loads((folder / 'arm.json').read_text())
        (folder / 'arm.json').write_text(json.dumps(arm | {f: v}))
        return path

      yield f'arm.{field}', value, change


def test_no_wrong_file_gives_a_traceback(tmp_path):
  """It is built, or a ValueError names the file; some 430 cases."""
  refused = 0
  for field, value, change in wrong_files(tmp_path):
    path = change()
    try:
      with contextlib.ExitStack() as stack:
        setup = robot_setup.build(str(path), FakeClock(), stack)
        setup.arm.observe()
    except (ValueError, OSError) as error:
      refused += 1
      assert f'{tmp_path}' in str(error), (field, value, error)
    except Exception as error:
      raise AssertionError(f'{field} = {value!r}: {error!r}') from error
  assert refused > 350


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '\xff', '{"a": 1}'])
def test_a_file_that_is_no_station_is_named(tmp_path, text):
  path = tmp_path / 'station.json'
  path.write_bytes(text.encode('latin-1'))
  with pytest.raises(ValueError, match='station.json: '):
    station.load(path)
  path = write(tmp_path)
  (tmp_path / 'arm.json').write_bytes(text.encode('latin-1'))
  with pytest.raises(ValueError, match='arm.json: '):
    station.load(path)


def test_the_station_of_an_so101_keeps_the_rules():
  folder = pathlib.Path(arms.__file__).parent / 'stations'
  fields, spec = station.load(folder / 'so101.json')
  assert fields.arm == 'lerobot' and spec.action_dim == 6
  with pytest.raises(ValueError, match='so101.json: robot .*lerobot'):
    station.build_arm(str(folder / 'so101.json'))  # needs LeRobot


@pytest.mark.parametrize('name', ['trossen', 'piper'])
def test_the_stations_to_copy_keep_the_rules(name):
  folder = pathlib.Path(arms.__file__).parent / 'stations'
  fields, spec = station.load(folder / f'{name}.json')
  assert fields.arm == name and spec.action_dim == 14
  assert station.build_arm(str(folder / f'{name}.json')).spec == spec


@pytest.mark.parametrize(
  'old, new',
  [
    ('critical_at_once', 'start_in_critical_phase'),
    ('max_same_picture_s', 'frozen_camera_timeout_s'),
  ],
)
def test_an_old_field_is_refused_by_its_new_name(tmp_path, old, new):
  path = write(tmp_path, without=[new], **{old: 1})
  with pytest.raises(
    ValueError, match=f'station.json: .*{old!r} is now {new!r}'
  ):
    station.load(path)


def test_a_robot_host_needs_neither_jax_nor_mujoco():
  code = (
    'import sys, rlt_jax.robot.robot_setup, rlt_jax.robot.run_schedule; '
    'print(sorted({"jax", "chex", "mujoco", "flax"} & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
