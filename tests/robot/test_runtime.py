"""A whole run from a station's file: real clock, real server, fake arm."""

import dataclasses
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_jax import config as config_lib
from rlt_jax.robot import preflight, robot_setup, runtime
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.recording import episodes, pictures
from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.serving import schema
from rlt_jax.serving.server import PolicyServer
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE, reference, WIRE
from tests.robot.test_station import write as write_station

_A = WIRE.action_dim


def write_bundle(folder, **changes):
  folder.mkdir()
  path = folder / bundle_lib.WEIGHTS
  layers = make_layers(BUNDLE)
  save_file({f'{i:02d}': x for i, x in enumerate(layers)}, path)
  spec = dataclasses.replace(BUNDLE, **changes)
  (folder / bundle_lib.RECORD).write_text(config_lib.to_json(spec))
  bundle_lib.write_digests(folder)


def infer(message, wire=WIRE):
  request = schema.read_request(wire, message)
  chunk = reference(0, wire.horizon)
  actions = request.proprio[:_A] + chunk * np.float32(wire.action_scale)
  z_rl = np.zeros(wire.z_dim, np.float32)
  return schema.make_reply(wire, actions=actions, z_rl=z_rl, reference=chunk)


def make_operator(*, clock, script):
  """Of the station's file."""
  return Scripted([(at, Kind(kind)) for at, kind in script], clock=clock)


@pytest.fixture
def station(tmp_path, monkeypatch):
  # Tested apart: a machine that is busy with other tests does not pass.
  monkeypatch.setattr(preflight, 'check_timing', lambda *_, **__: [])
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
  build = station(operator_arguments={'script': [(0.0, 'clear')]})
  assert runtime.run_robot(
    build, workdir, make_config(), report=finished.append
  )
  (over,) = finished
  rows = [json.loads(x) for x in (workdir / 'episodes.jsonl').open()]
  assert [x['mode'] for x in rows] == ['base', 'practice', 'evaluation']
  assert {x['outcome'] for x in rows} == {'time_out'}
  assert over.control_hz == BUNDLE.control_hz and over.run.cause == ''
  assert over.host['priority'] == 'none'
  (recorded,) = episodes.read(workdir / 'journal')
  assert recorded.begin['bundle'] == bundle_lib.digest(tmp_path / 'bundle')
  said = capsys.readouterr().out
  assert 'This station may run' in said
  assert "Ignored 'clear' of the scripted: there is no stop" in said
  with pytest.raises(ValueError, match='workdir must be new'):
    runtime.run_robot(station(), workdir, make_config(), report=None)
  # Nothing is left of the plan.
  config = make_config(resume=True)
  assert runtime.run_robot(station(), workdir, config, report=finished.append)
  assert finished[1].run.results.episodes == over.run.results.episodes


def test_weights_of_a_learner_with_another_bundle_are_not_taken(
  tmp_path, station
):
  """They have its shapes: only the digest tells that they do not fit."""
  learner, finished = tmp_path / 'run' / 'learner', []
  learner.mkdir(parents=True)
  layers = make_layers(BUNDLE)
  weights = snapshot.Snapshot(layers, 3, 10, 20, 1.0, bundle='another')
  snapshot.write(learner, weights)
  runtime.run_robot(
    station(), tmp_path / 'run', make_config(), report=finished.append
  )
  updates = finished[0].run.updates
  assert updates.version == 0 and updates.num_refused == 2
  assert "must be of the loop's bundle" in updates.fault


def test_a_run_keeps_the_pictures_of_what_it_records(tmp_path, station, capsys):
  workdir = tmp_path / 'run'
  config = make_config(keep_pictures=True)
  assert runtime.run_robot(station(), workdir, config, report=lambda over: None)
  said = capsys.readouterr().out
  assert 'Keeping pictures of 1 cameras at 25 Hz' in said
  kept = pictures.find(workdir / 'pictures')
  recorded = list(episodes.read(workdir / 'journal'))
  assert [x.begin['episode'] for x in recorded] == list(kept) == [1]
  keys = {x.key for x in pictures.read(kept[1].entry)}
  (recording,) = recorded[0].recordings
  assert keys >= {(1, 0, step) for step in recording.features}
  assert f'Pictures: {len(keys)} observations kept' in said
  with pytest.raises(ValueError, match='keep_pictures must be off'):
    dataclasses.replace(
      config,
      plan=RunPlan(minutes=0.0, num_base_episodes=1, num_final_episodes=0),
    )


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


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP'])
def test_a_signal_ends_the_run_which_goes_on_later(
  tmp_path, station, capsys, name
):
  build, finished = station(time_limit=10_000), []

  def build_and_signal(clock, stack):
    setup = build(clock, stack)
    number = getattr(signal, name)
    return setup._replace(prepare=lambda *_: signal.raise_signal(number))

  before = signal.getsignal(getattr(signal, name))
  assert runtime.run_robot(
    build_and_signal, tmp_path / 'run', make_config(), report=finished.append
  )
  (over,) = finished
  (row,) = over.run.results.episodes
  assert row['cause'] == 'the run was stopped'
  assert signal.getsignal(getattr(signal, name)) is before
  if name != 'SIGHUP':
    return
  config = make_config(resume=True)
  build = station(time_limit=15)
  with pytest.raises(ValueError, match='--resume needs a run'):
    runtime.run_robot(build, tmp_path / 'other', config, report=None)
  assert runtime.run_robot(
    build, tmp_path / 'run', config, report=finished.append
  )
  rows = finished[1].run.results.episodes
  # The episode that was cut short is run again.
  assert [x['mode'] for x in rows] == [
    'base', 'base', 'practice', 'evaluation'
  ]  # fmt: skip
  assert 'Going on after 1 episodes' in capsys.readouterr().out


def test_what_a_killed_loop_left_counts(tmp_path, station, capsys):
  workdir, finished = tmp_path / 'run', []
  runtime.run_robot(station(), workdir, make_config(), report=finished.append)
  # As if it had been killed in the episode of practice.
  path = workdir / 'episodes.jsonl'
  rows = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(rows[0])
  (episode,) = (workdir / 'journal').glob('*.rows')
  content = episode.read_bytes()
  episode.unlink()
  episode.with_suffix('.open').write_bytes(content[: len(content) * 2 // 3])
  config = make_config(resume=True)
  runtime.run_robot(station(), workdir, config, report=finished.append)
  rows = finished[1].run.results.episodes
  assert [x['mode'] for x in rows] == [
    'base', 'practice', 'practice', 'evaluation'
  ]  # fmt: skip
  killed = rows[1]
  assert killed['cause'] == 'the program was killed'
  assert 3 < killed['steps'] == killed['practice_steps'] < 15
  assert rows[2]['practice_steps'] == killed['steps'] + 15
  said = f'{killed["steps"]} steps of them were cut short by a kill: '
  assert said in capsys.readouterr().out
  write_bundle(tmp_path / 'other', gamma=0.5)
  build = station(bundle='other')
  with pytest.raises(ValueError, match='bundle must be the one'):
    runtime.run_robot(build, workdir, config, report=None)


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


def test_a_shadow_run_sends_nothing_and_says_what_it_would(tmp_path, station):
  """The whole program on a station's file; a person leaves the arm alone."""
  arms = []

  def build(clock, stack):
    setup = station(watchdog_timeout_s=0.5)(clock, stack)
    arms.append(setup.arm)
    return setup

  plan = RunPlan(minutes=0.0, num_base_episodes=1, num_final_episodes=1)
  config = dataclasses.replace(make_config(), plan=plan, shadow=True)
  finished, workdir = [], tmp_path / 'run'
  assert runtime.run_robot(build, workdir, config, report=finished.append)
  (arm,) = arms
  assert [name for _, name in arm.events] == ['connect', 'disconnect']
  rows = [json.loads(x) for x in (workdir / 'episodes.jsonl').open()]
  assert [x['mode'] for x in rows] == ['base', 'evaluation']
  found = json.loads((workdir / 'shadow.json').read_text())
  assert found['sent'] > 10 and set(found['by_source']) >= {'vla', 'actor'}
  assert found['wanted']['a']['worst'] > 0.0
  assert 'Nothing was sent' in (workdir / 'shadow.md').read_text()
  with pytest.raises(ValueError, match='minutes must be 0 in a shadow run'):
    dataclasses.replace(config, plan=make_config().plan)


def test_a_vla_slower_than_the_queries_is_asked_what_a_hold_waits_for(
  tmp_path, station
):
  """A query of the loop must not take the place of one that the arm awaits.

  At 10 Hz a query comes every 0.2 s, and an answer takes 0.25 s.
  """

  def slow(message):
    time.sleep(0.25)
    return infer(message)

  shutil.rmtree(tmp_path / 'bundle')
  write_bundle(tmp_path / 'bundle', control_hz=10.0)
  with PolicyServer(slow, dataclasses.asdict(WIRE), port=0) as server:
    build = station(
      control_hz=10.0,
      vla=f'ws://127.0.0.1:{server.port}',
      max_camera_age_s=1.0,
    )
    arm = json.loads((tmp_path / 'arm.json').read_text())
    arm |= {'max_action_age_s': 5.0, 'max_observation_age_s': 0.5}
    (tmp_path / 'arm.json').write_text(json.dumps(arm))
    plan = RunPlan(minutes=0.04, num_base_episodes=0, num_final_episodes=0)
    config, finished = dataclasses.replace(make_config(), plan=plan), []
    workdir, start = tmp_path / 'run', time.monotonic()
    assert runtime.run_robot(build, workdir, config, report=finished.append)
  rows = [json.loads(x) for x in (workdir / 'episodes.jsonl').open()]
  assert sum(x['steps'] for x in rows) >= 24
  assert sum(x['missing_queries'] for x in rows) == 0
  # 12 observations of 0.25 s, and what two cores of others take.
  assert time.monotonic() - start < 60.0
