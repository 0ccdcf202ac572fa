import math
import sys

import numpy as np
import pytest

from rlt_jax.robot.control import kinematics
from rlt_jax.robot.operator.events import DeviceError, Kind
from rlt_jax.robot.operator.spacemouse import SpaceMouse, SpaceMouseConfig
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.conftest import make_arm_spec

_POSE = np.array([0.3, 0.4, -0.5, 0.02])
pytestmark = pytest.mark.usefixtures('mouse')


def _open(**changes):
  fields = {
    'chain': 0,
    'linear_m_s': 0.1,
    'angular_rad_s': 0.5,
    'heading_rad': 0.0,
  }
  device = SpaceMouse(
    make_arm_spec(),
    SpaceMouseConfig(**(fields | changes)),
    clock=FakeClock(2.0),
  )
  device.open()
  return device


def _tip(pose):
  chain = make_arm_spec().chains[0]
  return kinematics.tip_position(chain, pose[:3])


def test_every_report_since_the_last_poll_is_read(mouse):
  device = _open()
  mouse.reports = [
    {'x': 0.2},
    {'buttons': [1, 0]},
    {'buttons': [0, 0]},
    {'x': 0.0, 'z': 1.0},
  ]
  assert device.poll() == [(Kind.TAKEOVER, 2.0, 'spacemouse', False)]
  assert not mouse.reports
  assert device.poll() == []


@pytest.mark.parametrize(
  'axis, direction', [('x', (1, 0, 0)), ('y', (0, 1, 0)), ('z', (0, 0, 1))]
)
@pytest.mark.parametrize('heading', [0.0, math.pi / 2])
def test_deflection_is_the_speed_of_the_tip(mouse, axis, direction, heading):
  # Three joints cannot move the tip and keep it from turning: what is left
  # is the direction it sets out in, and that it is no faster than told.
  device = _open(heading_rad=heading)
  mouse.reports = [{axis: 0.5}]
  device.poll()
  change = device.delta(_POSE, 0.02)
  moved = _tip(_POSE + change) - _tip(_POSE)
  x, y, z = direction
  if heading:
    x, y = -y, x
  assert moved @ (x, y, z) > 0.0
  assert np.linalg.norm(moved) <= 0.5 * 0.1 * 0.02 * 1.01
  assert change[3] == 0.0  # the gripper stays


def test_a_reachable_motion_of_the_tip_is_executed(mouse):
  chain = make_arm_spec().chains[0]
  # Ask for what the first joint alone does.
  column = kinematics.tip_jacobian(chain, _POSE[:3])[:, 0]
  values = column * [10, 10, 10, 2, 2, 2]
  names = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
  scale = 0.4 / np.abs(values).max()
  mouse.reports = [dict(zip(names, values * scale, strict=True))]
  device = _open(damping=1e-4, dead_zone=0.0)
  device.poll()
  change = device.delta(_POSE, 0.5)
  np.testing.assert_allclose(change, [0.5 * scale, 0, 0, 0], atol=1e-6)


def test_a_small_deflection_moves_nothing(mouse):
  device = _open()
  mouse.reports = [{'x': 0.04, 'yaw': -0.05}]
  device.poll()
  assert device.pose() is None
  np.testing.assert_array_equal(device.delta(_POSE, 0.02), np.zeros(4))


def test_a_mouse_that_is_pulled_out_is_lost(mouse):
  device = _open()
  mouse.lost = True
  with pytest.raises(DeviceError, match='is gone: hid read failed'):
    device.poll()
  device.close()
  assert mouse.closed


def test_a_mouse_without_the_buttons_is_refused(mouse):
  mouse.state.buttons = [0]
  with pytest.raises(DeviceError, match=r'Test Mouse must be 0 to 0: \[1\]'):
    _open()
  assert mouse.closed


def test_a_missing_mouse_or_package_is_reported(monkeypatch):
  def fail(axis_convention):
    raise RuntimeError('No connected or supported devices found.')

  monkeypatch.setattr(sys.modules['pyspacemouse'], 'open', fail)
  with pytest.raises(DeviceError, match='No SpaceMouse can be opened: No con'):
    _open()
  monkeypatch.setitem(sys.modules, 'pyspacemouse', None)
  with pytest.raises(DeviceError, match="pip install 'pyspacemouse"):
    _open()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'chain': 1}, 'one of the 1 of test: 1'),
    ({'linear_m_s': 0.0}, 'linear_m_s must be positive: 0.0'),
    ({'heading_rad': math.nan}, 'heading_rad must be finite: nan'),
    ({'dead_zone': 1.0}, r'dead_zone must be in \[0, 1\): 1.0'),
  ],
)
def test_a_bad_config_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    _open(**changes)


def test_a_mouse_that_falls_silent_moves_nothing(mouse):
  device = _open()
  mouse.reports = [{'x': 0.5}]
  device.poll()
  assert np.any(device.delta(_POSE, 0.02))
  # Its receiver stays, so that no error comes.
  device._clock.time += 0.25
  device.poll()
  assert not np.any(device.delta(_POSE, 0.02))
  mouse.reports = [{'x': 0.5}]
  device.poll()
  assert np.any(device.delta(_POSE, 0.02))
