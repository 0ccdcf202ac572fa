"""From the files of a station to a running arm that learns, on stand-ins.

An SO-101 by LeRobot's interface, and two Piper arms by their shipped file:
bundle from the station and the VLA's metadata, preflight, episodes, learner,
report.
"""

import dataclasses
import json
import pathlib
import time

import numpy as np
import pytest

from rlt_jax.reporting import robot_report
from rlt_jax.robot import arm as arm_lib
from rlt_jax.robot import arms, preflight, robot_setup, runtime
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec
from rlt_jax.serving.server import PolicyServer
from rlt_jax.training import bundle_settings, station_export
from rlt_jax.training.config import make_config
from rlt_jax.training.journal_learner import JournalLearner

_FOLDER = pathlib.Path(arms.__file__).parent
# Slow, so that a busy machine passes the preflight.
_RATE = 20.0
_LEARNER = (
  *('agent.batch_size=8', 'replay_capacity=256', 'learning_starts=8'),
  *('vla_warmup_steps=32', 'utd_ratio=1'),
)
_SETTINGS = (
  *('agent.hidden_dims=16,16', 'chunk_size=4', 'inference_delay=2'),
  *_LEARNER,
)


@dataclasses.dataclass
class SO101Config:
  """As LeRobot's: what a station's file gives, and LeRobot's own defaults."""

  port: str
  id: str
  use_degrees: bool
  disable_torque_on_disconnect: bool = True


class SO101:
  """What LeRobot's SO-101 promises, on joints that follow in 50 ms."""

  config_class = SO101Config
  is_calibrated = True
  action_features = {
    f'{joint}.pos': float
    for joint in arm_lib.load_spec(_FOLDER / 'specs/so101.json').joint_names
  }
  observation_features = action_features
  made = []

  def __init__(self, config):
    assert config.use_degrees and config.port == '/dev/ttyACM0'
    self.position = np.array([0.0, 10.0, -20.0, 5.0, 0.0, 40.0])
    self.target, self.time = self.position.copy(), time.monotonic()
    self.calls = []
    SO101.made.append(self)

  def connect(self, calibrate=True):
    assert not calibrate
    self.calls.append('connect')

  def disconnect(self):
    self.calls.append('disconnect')

  def _move(self):
    now = time.monotonic()
    left = np.exp((self.time - now) / 0.05)
    self.position = self.target + (self.position - self.target) * left
    self.time = now

  def get_observation(self):
    self._move()
    return dict(zip(self.action_features, self.position, strict=True))

  def send_action(self, action):
    self._move()
    self.calls.append('send_action')
    self.target = np.array([action[k] for k in self.action_features])
    return dict(action)


def _wire(spec, cameras) -> ServingSpec:
  """The metadata of a VLA for this arm; it proposes to go on by a little."""
  size = len(spec.joint_names)
  return ServingSpec(
    cameras=cameras,
    image_size=8,
    proprio_dim=2 * size,
    horizon=20,
    action_dim=size,
    z_dim=6,
    joint_names=spec.joint_names,
    action_mode='offset',
    action_scale=(0.002,) * size,
    vla_fingerprint='a vla for this arm',
    token_fingerprint='and its token',
    control_hz=_RATE,
    proprio_mean=(0.1,) * 2 * size,
    proprio_std=(0.7,) * 2 * size,
  )


def _infer(wire):
  def infer(message):
    request = schema.read_request(wire, message)
    reference = np.zeros((wire.horizon, wire.action_dim), np.float32)
    reference[:, 0] = 0.1 * np.arange(wire.horizon)
    pose = request.proprio[: wire.action_dim]
    return schema.make_reply(
      wire,
      actions=pose + reference * np.float32(wire.action_scale),
      z_rl=np.full(wire.z_dim, 0.3),
      reference=reference,
    )

  return infer


def _station(tmp_path, name, port, **changes):
  """Returns a copy of a shipped station with what a person would change."""
  record = json.loads((_FOLDER / f'stations/{name}.json').read_text())
  arm = json.loads((_FOLDER / 'specs' / f'{name}.json').read_text())
  (tmp_path / 'arm.json').write_text(
    json.dumps(
      arm
      | {
        'name': f'test-{name}-{tmp_path.name}',
        'max_observation_age_s': 0.5,
        'max_action_age_s': 2.0,
      }
    )
  )
  record |= {
    'arm_spec': 'arm.json',
    'cameras': 'fake',
    'camera_arguments': {'size': 8},
    'control_hz': _RATE,
    'max_camera_age_s': 1.0,
    'vla': f'ws://127.0.0.1:{port}',
    'bundle': 'bundle',
    'time_limit': 24,
    'start_in_critical_phase': True,
    'operator': 'tests.robot.test_runtime:make_operator',
    'operator_arguments': {'script': []},
  }
  path = tmp_path / 'station.json'
  path.write_text(json.dumps(record | changes))
  return str(path)


@pytest.fixture(params=['so101', 'piper'])
def station(request, tmp_path):
  """Yields the station's file, with the VLA's server running."""
  name = request.param
  record = json.loads((_FOLDER / f'stations/{name}.json').read_text())
  spec = arm_lib.load_spec(_FOLDER / 'specs' / f'{name}.json')
  wire = _wire(spec, tuple(record['camera_names']))
  with PolicyServer(_infer(wire), wire.metadata(), port=0) as server:
    if name == 'so101':
      arguments = record['arm_arguments'] | {'robot': f'{__name__}:SO101'}
      changes = {'arm_arguments': arguments}
    else:
      start = [0.0, 1.0, -1.0, 0.0, 0.3, 0.0, 0.02] * 2
      changes = {'arm': 'fake', 'arm_arguments': {'start': start},
                 'watchdog_timeout_s': None}  # fmt: skip
    yield _station(tmp_path, name, server.port, **changes)


def _export(path, tmp_path, prompt='pick the block'):
  return station_export.export(
    path,
    tmp_path / 'bundle',
    config=make_config(_SETTINGS),
    prompt=prompt,
    command='test',
  )


def test_a_stations_arm_practices_and_is_learned_from(
  station, tmp_path, capsys
):
  assert _export(station, tmp_path) <= 1e-5
  spec, _ = bundle_lib.load(tmp_path / 'bundle')
  own = arm_lib.load_spec(tmp_path / 'arm.json')
  assert spec.joint_names == own.joint_names and spec.reach == own.max_step
  assert spec.prompt == 'pick the block' and spec.control_hz == _RATE
  build = lambda clock, stack: robot_setup.build(station, clock, stack)  # noqa: E731
  config = runtime.RuntimeConfig(
    plan=RunPlan(minutes=0.05, num_base_episodes=1, num_final_episodes=1),
    vla_warmup_steps=20,
    realtime_priority=False,
  )
  only = dataclasses.replace(config, preflight_only=True)
  assert runtime.run_robot(build, tmp_path / 'run', only, report=None)
  text = capsys.readouterr().out
  assert 'This station may run' in text and '\nbad' not in text
  moved = [call for robot in SO101.made for call in robot.calls]
  assert set(moved) <= {'connect'}  # the preflight sends nothing, and no fall

  report = []
  assert runtime.run_robot(
    build,
    tmp_path / 'run',
    config,
    report=lambda over: report.append(
      robot_report.write_run(tmp_path / 'run', over, command='test')
    ),
  )
  assert report == [True]
  rows = [json.loads(x) for x in (tmp_path / 'run' / 'episodes.jsonl').open()]
  modes = [x['mode'] for x in rows]
  assert modes.count('practice') >= 2 and modes[-1] == 'evaluation'
  for robot in SO101.made:
    assert 'disconnect' not in robot.calls  # it would have fallen
  SO101.made.clear()
  if own.action_dim != 6:
    return  # learning does not depend on the arm, and compiles for long
  learner = JournalLearner(
    journal=tmp_path / 'run' / 'journal',
    workdir=tmp_path / 'run' / 'learner',
    spec=spec,
    config=make_config([*bundle_settings.assignments(spec, 'rlt'), *_LEARNER]),
  )
  assert learner.catch_up() == modes.count('practice')
  learner.close()
  newest = snapshot.read(tmp_path / 'run' / 'learner', spec)
  assert newest.rows > 0 and newest.version > 1


@pytest.mark.parametrize(
  'change, message',
  [
    ({'joint_names': ('a', 'b', 'c', 'd', 'e', 'f')}, 'joint_names of the VLA'),
    ({'cameras': ('wrist', 'front')}, 'camera_names of the VLA must be'),
    ({'control_hz': 25.0}, "control_hz of the VLA must be the station's 20.0"),
    ({'control_hz': None}, 'control_hz of the VLA'),
    ({'proprio_mean': ()}, 'proprio_mean of the VLA'),
    ({'horizon': 5}, 'together, 6: 5'),
  ],
)
def test_a_vla_for_another_arm_is_refused_by_name(tmp_path, change, message):
  spec = arm_lib.load_spec(_FOLDER / 'specs/so101.json')
  wire = dataclasses.replace(_wire(spec, ('front', 'wrist')), **change)
  with PolicyServer(dict, wire.metadata(), port=0) as server:
    path = _station(tmp_path, 'so101', server.port)
    with pytest.raises(ValueError, match=f'station.json: .*{message}'):
      _export(path, tmp_path)
  assert not (tmp_path / 'bundle').exists()
  if not change.get('horizon'):
    return
  with pytest.raises(ValueError, match='must answer: nothing listens there'):
    _export(path, tmp_path)  # the server has ended


def test_the_shipped_station_has_the_names_that_the_loop_measures():
  spec = arm_lib.load_spec(_FOLDER / 'specs/so101.json')
  names = preflight.proprio_names(spec)
  assert names[0] == 'shoulder_pan.pos' and names[-1] == 'gripper.vel'
