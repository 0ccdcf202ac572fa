import sys

import pytest

from rlt_jax.robot.operator.events import DeviceError, Kind
from rlt_jax.robot.operator.pedal import Pedal
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.fake_packages import FakeInput

pytestmark = pytest.mark.usefixtures('evdev')


def _open():
  pedal = Pedal('/dev/input/pedal', clock=FakeClock(5.0))
  pedal.open()
  return pedal, FakeInput.opened


def test_pedals_become_events():
  pedal, device = _open()
  assert device.grabbed and pedal.poll() == []
  device.press(
    (4, 4, 458756),  # a scan code, which is no key
    (1, 30, 1),
    (0, 0, 0),
    (1, 30, 2),  # the repeat of a pedal that is held
    (1, 30, 0),
    (1, 48, 1),
    (1, 48, 0),
    (1, 32, 1),  # not in the map
  )
  assert pedal.poll() == [
    (Kind.TAKEOVER, 5.0, 'pedal', True),
    (Kind.RELEASE, 5.0, 'pedal', True),
    (Kind.ENTER_CRITICAL, 5.0, 'pedal', False),
  ]
  pedal.close()
  assert device.closed
  with pytest.raises(DeviceError, match='must be opened'):
    pedal.poll()


def test_a_foot_that_is_on_the_pedal_at_the_start_takes_over():
  FakeInput.down = (30, 48, 99)  # takeover, a button that is not held, another
  pedal, device = _open()
  device.press((1, 30, 0))
  assert pedal.poll() == [
    (Kind.TAKEOVER, 5.0, 'pedal', True),
    (Kind.RELEASE, 5.0, 'pedal', True),
  ]
  assert pedal.poll() == []


def test_a_pedal_that_is_pulled_out_is_lost():
  pedal, device = _open()
  device.closed = True
  with pytest.raises(DeviceError, match='is gone: .*No such device'):
    pedal.poll()


def test_a_pedal_that_is_not_there_is_named():
  with pytest.raises(DeviceError, match='/dev/input/x cannot be opened'):
    Pedal('/dev/input/x').open()


def test_a_pedal_without_a_button_of_the_map_is_refused():
  FakeInput.keys = (30,)
  with pytest.raises(DeviceError, match=r"has no \['KEY_B', 'KEY_C'\]"):
    _open()
  assert FakeInput.opened.closed


def test_a_pedal_in_use_is_refused():
  FakeInput.busy = True
  with pytest.raises(DeviceError, match='in use by another program'):
    _open()
  assert FakeInput.opened.closed


def test_a_missing_package_is_reported_with_its_install_command(monkeypatch):
  monkeypatch.setitem(sys.modules, 'evdev', None)
  with pytest.raises(DeviceError, match="pip install 'evdev"):
    _open()
