import sys
import types

import pytest

from rlt_jax.robot.operator.events import DeviceError, Kind
from rlt_jax.robot.operator.pedal import Pedal
from tests.robot.operator.conftest import FakeClock

_CODES = {'KEY_A': 30, 'KEY_B': 48, 'KEY_C': 46, 'KEY_D': 32}


class _Input:
  """What evdev.InputDevice does, as far as a pedal needs it."""

  keys = (30, 48, 46)
  busy = False
  opened = None

  def __init__(self, path):
    if path != '/dev/input/pedal':
      raise FileNotFoundError(2, 'No such file or directory', path)
    self.queue, self.grabbed, self.closed = [], False, False
    _Input.opened = self

  def capabilities(self):
    return {1: list(self.keys)}

  def grab(self):
    if self.busy:
      raise OSError(16, 'Device or resource busy')
    self.grabbed = True

  def read_one(self):
    if self.closed:
      raise OSError(19, 'No such device')
    return self.queue.pop(0) if self.queue else None

  def close(self):
    self.closed = True

  def press(self, *records):
    for kind, code, value in records:
      self.queue.append(
        types.SimpleNamespace(type=kind, code=code, value=value)
      )


@pytest.fixture(autouse=True)
def evdev(monkeypatch):
  ecodes = types.SimpleNamespace(ecodes=_CODES, EV_KEY=1)
  module = types.SimpleNamespace(InputDevice=_Input, ecodes=ecodes)
  monkeypatch.setitem(sys.modules, 'evdev', module)
  monkeypatch.setattr(_Input, 'busy', False)
  monkeypatch.setattr(_Input, 'keys', (30, 48, 46))


def _open():
  pedal = Pedal('/dev/input/pedal', clock=FakeClock(5.0))
  pedal.open()
  return pedal, _Input.opened


def test_feet_become_events():
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
    (Kind.TAKEOVER, 5.0, 'pedal'),
    (Kind.RELEASE, 5.0, 'pedal'),
    (Kind.ENTER_CRITICAL, 5.0, 'pedal'),
  ]
  pedal.close()
  assert device.closed
  with pytest.raises(DeviceError, match='must be opened'):
    pedal.poll()


def test_a_pedal_that_is_pulled_out_is_lost():
  pedal, device = _open()
  device.closed = True
  with pytest.raises(DeviceError, match='is gone: .*No such device'):
    pedal.poll()


def test_a_pedal_that_is_not_there_is_named():
  with pytest.raises(DeviceError, match='/dev/input/x cannot be opened'):
    Pedal('/dev/input/x').open()


def test_a_pedal_without_a_button_of_the_map_is_refused():
  _Input.keys = (30,)
  with pytest.raises(DeviceError, match=r"has no \['KEY_B', 'KEY_C'\]"):
    _open()
  assert _Input.opened.closed


def test_a_pedal_in_use_is_refused():
  _Input.busy = True
  with pytest.raises(DeviceError, match='in use by another program'):
    _open()
  assert _Input.opened.closed


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'evdev', None)
  with pytest.raises(DeviceError, match="pip install 'evdev"):
    _open()
