import sys
import types

import pytest

from rlt_jax.robot.operator.events import ButtonMap, DeviceError, Kind
from rlt_jax.robot.operator.gamepad import Gamepad
from tests.robot.fake_clock import FakeClock
from tests.robot.operator.fake_packages import (
  JOY_AXIS,
  JOY_DOWN,
  JOY_REMOVED,
  JOY_UP,
)

pytestmark = pytest.mark.usefixtures('pygame')


def test_buttons_become_events(pygame):
  pad = Gamepad(clock=FakeClock(3.0))
  pad.open()
  pygame.press(JOY_AXIS, axis=0, value=0.4)
  pygame.press(JOY_DOWN, button=4)
  pygame.press(JOY_DOWN, button=9)  # not in the map
  pygame.press(JOY_DOWN, pad=11, button=0)  # the other pad
  pygame.press(JOY_UP, button=4)
  pygame.queue.append(types.SimpleNamespace(type=256))  # no pad's at all
  assert pad.poll() == [
    (Kind.TAKEOVER, 3.0, 'gamepad', True),
    (Kind.RELEASE, 3.0, 'gamepad', True),
  ]
  assert pad.poll() == []
  pad.close()
  assert pygame.log[-2:] == ['joystick quit', 'display quit']
  with pytest.raises(DeviceError, match='must be opened'):
    pad.poll()


@pytest.mark.parametrize('button, kind', [(7, Kind.CLEAR), (8, Kind.STOW)])
def test_start_clears_a_stop_and_guide_stows(pygame, button, kind):
  pad = Gamepad()
  pad.open()
  pygame.press(JOY_DOWN, button=button)
  assert [event.kind for event in pad.poll()] == [kind]


def test_sdl_needs_no_screen_and_leaves_signals_alone(pygame):
  Gamepad().open()
  environment = pygame.log[0]
  assert environment['SDL_VIDEODRIVER'] == 'dummy'
  assert environment['SDL_NO_SIGNAL_HANDLERS'] == '1'
  assert environment['SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS'] == '1'


def test_a_gamepad_that_is_switched_off_is_lost(pygame):
  pad = Gamepad(index=1)
  pad.open()
  pygame.press(JOY_REMOVED, pad=10)
  assert pad.poll() == []
  pygame.press(JOY_REMOVED, pad=11)
  with pytest.raises(DeviceError, match='The gamepad is gone'):
    pad.poll()


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'index': 2}, 'one of the 2 connected: 2'),
    (
      {'buttons': ButtonMap(down={11: Kind.STOP})},
      r'buttons of Test Pad must be 0 to 10: \[11\]',
    ),
  ],
)
def test_a_pad_that_does_not_fit_is_refused_and_closed(
  pygame, arguments, message
):
  with pytest.raises(DeviceError, match=message):
    Gamepad(**arguments).open()
  assert pygame.log[-1] == 'display quit'


def test_an_sdl_that_cannot_start_is_reported(pygame):
  def fail():
    raise RuntimeError('x11 not available')

  pygame.display.init = fail
  with pytest.raises(DeviceError, match='SDL cannot be started: x11 not'):
    Gamepad().open()


def test_a_missing_package_is_reported_with_its_install_command(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pygame', None)
  with pytest.raises(DeviceError, match="pip install 'pygame"):
    Gamepad().open()
