"""Every kind of device, as a station's file names it."""

import dataclasses
import json

import numpy as np
import pytest

from rlt_jax.robot import station as station_lib
from rlt_jax.robot.operator import devices
from rlt_jax.robot.operator.events import Kind
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.conftest import make_arm_spec
from tests.robot.operator.fake_packages import FakeInput, JOY_DOWN, JOY_UP
from tests.robot.test_station import STATION

_MOUSE = {
  'chain': 0,
  'linear_m_s': 0.1,
  'angular_rad_s': 0.5,
  'heading_rad': 0.0,
}


def _build(folder, kind, **arguments):
  spec = make_arm_spec()
  (folder / 'arm.json').write_text(json.dumps(dataclasses.asdict(spec)))
  record = STATION | {
    'operator': kind,
    'operator_arguments': arguments,
    'align_tolerance': [0.1] * spec.action_dim,
    'keep_tolerance': [0.1] * spec.action_dim,
  }
  path = folder / 'station.json'
  path.write_text(json.dumps(record))
  station, spec = station_lib.load(path)
  return station_lib.build_operator(station, spec, FakeClock())


def _kinds(events):
  return [event.kind for event in events]


def test_a_terminal_has_the_keys_of_the_file(tmp_path):
  keys = {'q': 'stop', 'y': 'success'}
  terminal = _build(tmp_path, 'terminal', keys=keys)
  lines = terminal.help_lines()
  assert [line.split()[0] for line in lines] == ['q', 'y']


def test_a_gamepad_has_the_buttons_of_the_file(tmp_path, pygame):
  buttons = {'down': {'3': 'takeover'}, 'up': {'3': 'release'}}
  pad = _build(tmp_path, 'gamepad', index=1, buttons=buttons)
  pad.open()
  for edge in (JOY_DOWN, JOY_UP):
    pygame.press(edge, pad=11, button=3)
  assert _kinds(pad.poll()) == [Kind.TAKEOVER, Kind.RELEASE]


@pytest.mark.usefixtures('evdev')
def test_a_pedal_has_the_path_and_buttons_of_the_file(tmp_path):
  pedal = _build(
    tmp_path,
    'pedal',
    path='/dev/input/pedal',
    buttons={'down': {'KEY_B': 'stop'}},
  )
  pedal.open()
  FakeInput.opened.press((1, 30, 1), (1, 48, 1))
  assert _kinds(pedal.poll()) == [Kind.STOP]


def test_a_spacemouse_moves_the_hand_of_the_arms_file(tmp_path, mouse):
  device = _build(tmp_path, 'spacemouse', **_MOUSE)
  device.open()
  mouse.reports = [{'z': 1.0, 'buttons': [1, 0]}]
  assert _kinds(device.poll()) == [Kind.TAKEOVER]
  delta = device.delta(np.array([0.3, 0.4, -0.5, 0.02]), 0.02)
  assert np.abs(delta[:3]).max() > 1e-4 and delta[3] == 0.0


def test_a_leader_is_an_arm_with_the_joints_of_the_file(tmp_path):
  leader = _build(tmp_path, 'leader', arm='fake', arm_arguments={})
  leader.open()
  assert leader.poll() == []
  np.testing.assert_array_equal(leader.pose(), make_arm_spec().stow)
  leader.close()


def test_a_group_has_the_pose_of_its_leader_and_all_events(tmp_path, pygame):
  entries = [
    {'kind': 'gamepad'},
    {'kind': 'leader', 'arguments': {'arm': 'fake'}},
  ]
  group = _build(tmp_path, 'group', devices=entries)
  group.open()
  pygame.press(JOY_DOWN, button=4)
  assert _kinds(group.poll()) == [Kind.TAKEOVER]
  np.testing.assert_array_equal(group.pose(), make_arm_spec().stow)
  assert group.delta(np.zeros(4), 0.02) is None
  group.close()


def test_a_group_without_a_teleoperator_gives_events_only(tmp_path, pygame):
  group = _build(
    tmp_path, 'group', devices=[{'kind': 'gamepad'}, {'kind': 'terminal'}]
  )
  assert group.pose() is None and group.delta(np.zeros(4), 0.02) is None
  assert any('stop' in line for line in group.help_lines())


def test_every_kind_is_tested_here():
  tested = {'terminal', 'gamepad', 'pedal', 'spacemouse', 'leader', 'group'}
  assert set(devices.KINDS) == tested


@pytest.mark.parametrize(
  'kind, arguments, message',
  [
    ('wheel', {}, "operator must be one of .*: 'wheel'"),
    ('pedal', {}, r"pedal must have the arguments \['path'\]"),
    ('leader', {}, r"leader must have the arguments \['arm'\]"),
    ('group', {}, r"group must have the arguments \['devices'\]"),
    ('gamepad', {'number': 1}, r"gamepad must be among .*: \['number'\]"),
    (
      'gamepad',
      {'buttons': {'down': {'0': 'jump'}}},
      "buttons.down: An event must be one of .*: 'jump'",
    ),
    ('gamepad', {'buttons': {'down': {'A': 'stop'}}}, "buttons.down: .*'A'"),
    ('spacemouse', _MOUSE | {'chain': 3}, 'chain must be one of the 1 of'),
    ('spacemouse', {'chain': 0}, "must have the arguments .*'linear_m_s'"),
    ('group', {'devices': []}, 'devices must have distinct names'),
    (
      'group',
      {'devices': [{'kind': 'wheel'}]},
      "A device must be one of .*: 'wheel'",
    ),
    (
      'group',
      {
        'devices': [
          {'kind': 'leader', 'arguments': {'arm': 'fake'}},
          {'kind': 'spacemouse', 'arguments': _MOUSE},
        ]
      },
      r"At most one device .* drive the arm: \['leader', 'spacemouse'\]",
    ),
  ],
)
def test_a_wrong_argument_is_refused(tmp_path, kind, arguments, message):
  with pytest.raises(ValueError, match=message):
    _build(tmp_path, kind, **arguments)
