import numpy as np
import pytest

from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.faults import CameraFault

_NAMES = ('base', 'wrist')


def make(clock, kind=None):
  faults = ()
  if kind is not None:
    faults = (CameraFault(camera='wrist', kind=kind, at_s=1.0, seconds=2.0),)
  return FakeCameras(_NAMES, clock=clock, size=32, faults=faults)


def test_pictures_change_and_are_fresh(clock):
  cameras = make(clock)
  assert cameras.age_s() == float('inf')
  first = cameras.observe()
  clock.time += 0.51
  second = cameras.observe()
  assert set(first) == set(cameras.shapes) == set(_NAMES)
  for name in _NAMES:
    assert first[name].shape == cameras.shapes[name] == (32, 32, 3)
    assert first[name].dtype == np.uint8
    assert (first[name] != second[name]).any()
  assert (first['base'] != first['wrist']).any()
  age = cameras.age_s()
  assert 0.0 <= age < 1 / 30
  clock.time += 0.25  # of the last observe, which ages
  assert cameras.age_s() == pytest.approx(age + 0.25)


@pytest.mark.parametrize('kind', ['frozen', 'stale', 'dark'])
def test_a_fault_affects_its_camera_for_its_time(clock, kind):
  cameras = make(clock, kind)
  clock.time += 1.2
  one = cameras.observe()
  clock.time += 1.0
  two = cameras.observe()
  assert (one['base'] != two['base']).any()
  assert (one['wrist'] == two['wrist']).all()
  assert (one['wrist'].max() == 0) == (kind == 'dark')
  # Only a stale camera says so; the pictures must tell of the others.
  assert (cameras.age_s() > 1.1) == (kind == 'stale')
  clock.time += 1.0
  assert cameras.observe()['wrist'].any()
  assert cameras.age_s() < 1 / 30


def test_a_fault_of_an_unknown_camera_is_refused(clock):
  fault = CameraFault(camera='roof', kind='dark', at_s=0.0, seconds=1.0)
  with pytest.raises(ValueError, match='camera must be one of'):
    FakeCameras(_NAMES, clock=clock, faults=[fault])
  with pytest.raises(ValueError, match='kind must be one of'):
    CameraFault(camera='roof', kind='dim', at_s=0.0, seconds=1.0)


def test_no_picture_comes_again_for_seconds(clock):
  """Whoever looks rarely must not take it for a frozen camera."""
  seen = set()
  cameras = FakeCameras(('wrist',), clock=clock, size=8, frames_per_s=60.0)
  for _ in range(240):
    clock.time += 1.0 / 60.0
    seen.add(cameras.observe()['wrist'].tobytes())
  assert len(seen) > 200
