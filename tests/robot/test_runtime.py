"""A whole run from a station's file: real clock, real server, fake arm."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_jax import config as config_lib
from rlt_jax.robot import robot_setup, runtime
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.serving import schema
from rlt_jax.serving.server import PolicyServer
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE, reference, WIRE
from tests.robot.test_station import write as write_station

_A = WIRE.action_dim


def write_bundle(folder):
  folder.mkdir()
  path = folder / bundle_lib.WEIGHTS
  layers = make_layers(BUNDLE)
  save_file({f'{i:02d}': x for i, x in enumerate(layers)}, path)
  spec = dataclasses.replace(BUNDLE, weights_sha256=bundle_lib.sha256(path))
  (folder / bundle_lib.RECORD).write_text(config_lib.to_json(spec))


def infer(message):
  request = schema.read_request(WIRE, message)
  chunk = reference(0, WIRE.horizon)
  actions = request.proprio[:_A] + chunk * np.float32(WIRE.action_scale)
  z_rl = np.zeros(WIRE.z_dim, np.float32)
  return schema.make_reply(WIRE, actions=actions, z_rl=z_rl, reference=chunk)


def make_operator(*, clock, script):
  """Of the station's file."""
  return Scripted([(at, Kind(kind)) for at, kind in script], clock=clock)


@pytest.fixture
def station(tmp_path):
  write_bundle(tmp_path / 'bundle')

  def build(**changes):
    fields = {
      'vla': f'ws://127.0.0.1:{server.port}',
      'operator': 'tests.robot.test_runtime:make_operator',
      'operator_arguments': {'script': []},
      'time_limit': 15,
      'start_in_critical_phase': True,
    }
    path = write_station(tmp_path, name=f'a{os.getpid()}', **(fields | changes))
    return lambda clock, stack: robot_setup.build(str(path), clock, stack)

  with PolicyServer(infer, dataclasses.asdict(WIRE), port=0) as server:
    yield build


def make_config(**changes):
  plan = RunPlan(minutes=0.005, num_base_episodes=1, num_final_episodes=1)
  return runtime.RuntimeConfig(
    plan=plan, vla_warmup_steps=0, realtime_priority=False, **changes
  )


def test_a_run_from_a_stations_file(tmp_path, station, capsys):
  finished, workdir = [], tmp_path / 'run'
  assert runtime.run_robot(
    station(), workdir, make_config(), report=finished.append
  )
  (over,) = finished
  rows = [json.loads(x) for x in (workdir / 'episodes.jsonl').open()]
  assert [x['mode'] for x in rows] == ['base', 'practice', 'evaluation']
  assert {x['outcome'] for x in rows} == {'time_out'}
  assert over.control_hz == BUNDLE.control_hz and over.run.cause == ''
  assert over.host['priority'] == 'none'
  assert list((workdir / 'journal').iterdir())
  assert 'This station may run' in capsys.readouterr().out
  with pytest.raises(ValueError, match='workdir must be new'):
    runtime.run_robot(station(), workdir, make_config(), report=None)


def test_a_preflight_alone_runs_nothing(tmp_path, station):
  config = make_config(preflight_only=True)
  assert runtime.run_robot(station(), tmp_path / 'run', config, report=None)
  assert not (tmp_path / 'run' / 'episodes.jsonl').exists()


def test_a_station_that_fails_its_preflight_does_not_run(tmp_path, station):
  build = station(camera_arguments={'size': 12})  # not the server's
  assert not runtime.run_robot(
    build, tmp_path / 'run', make_config(), report=None
  )
  assert not (tmp_path / 'run' / 'episodes.jsonl').exists()


def test_ctrl_c_ends_the_run_and_reports(tmp_path, station):
  build, finished = station(time_limit=10_000), []

  def build_and_signal(clock, stack):
    setup = build(clock, stack)
    prepare = lambda mode, number: signal.raise_signal(signal.SIGINT)  # noqa: E731
    return setup._replace(prepare=prepare)

  before = signal.getsignal(signal.SIGINT)
  assert runtime.run_robot(
    build_and_signal, tmp_path / 'run', make_config(), report=finished.append
  )
  (over,) = finished
  (row,) = over.run.results.episodes
  assert row['cause'] == 'the run was stopped'
  assert signal.getsignal(signal.SIGINT) is before


def test_the_stations_times_stow_and_disable_the_arm(tmp_path, station):
  build = station(
    stow_after_hold_s=0.2,
    disable_after_stow_s=0.2,
    time_limit=10_000,
  )
  arms = []

  def build_with_fault(clock, stack):
    setup = build(clock, stack)
    arm, observe = setup.arm, setup.arm.observe
    arms.append(arm)

    def prepare(mode, number):
      began, errors = clock.now(), iter(range(6))

      def lose():
        if clock.now() > began + 0.2 and next(errors, None) is not None:
          raise ArmError('a packet was lost')
        return observe()

      arm.observe = lose

    return setup._replace(prepare=prepare)

  finished = []
  assert runtime.run_robot(
    build_with_fault, tmp_path / 'run', make_config(), report=finished.append
  )
  calls = [name for _, name in arms[0].events]
  assert calls[-4:] == ['hold', 'stow', 'disable', 'disconnect']
  assert finished[0].run.cause.startswith('disable: 0.2 s in stow')
