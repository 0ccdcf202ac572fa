"""What the vendors' packages of the operator's devices do, for tests."""

import os
import types

JOY_DOWN, JOY_UP, JOY_REMOVED, JOY_AXIS = 1539, 1540, 1542, 1536
KEY_CODES = {'KEY_A': 30, 'KEY_B': 48, 'KEY_C': 46, 'KEY_D': 32}


class FakeMouse:
  """One report per read, into one state that is used again and again."""

  name = 'Test Mouse'

  def __init__(self):
    self.state = types.SimpleNamespace(
      t=0.0, x=0.0, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=0.0, buttons=[0, 0]
    )
    self.reports, self.closed, self.lost = [], False, False

  def read(self):
    if self.lost:
      raise RuntimeError('hid read failed')
    if self.reports:
      self.state.t += 0.004
      for name, value in self.reports.pop(0).items():
        setattr(self.state, name, value)
    return self.state

  def close(self):
    self.closed = True


class FakePygame:
  """What pygame does, as far as a gamepad needs it."""

  JOYBUTTONDOWN, JOYBUTTONUP, JOYDEVICEREMOVED = JOY_DOWN, JOY_UP, JOY_REMOVED
  error = RuntimeError

  def __init__(self):
    self.queue, self.log = [], []
    self.display = types.SimpleNamespace(
      init=lambda: self.log.append(dict(os.environ)),
      quit=lambda: self.log.append('display quit'),
    )
    self.joystick = types.SimpleNamespace(
      init=lambda: None,
      quit=lambda: self.log.append('joystick quit'),
      get_count=lambda: 2,
      Joystick=self._joystick,
    )
    self.event = types.SimpleNamespace(get=self._get)

  def _joystick(self, index):
    return types.SimpleNamespace(
      get_instance_id=lambda: 10 + index,
      get_numbuttons=lambda: 11,
      get_name=lambda: 'Test Pad',
    )

  def _get(self):
    queue, self.queue = self.queue, []
    return queue

  def press(self, kind, pad=10, **fields):
    self.queue.append(
      types.SimpleNamespace(type=kind, instance_id=pad, **fields)
    )


class FakeInput:
  """What evdev.InputDevice does, as far as a pedal needs it."""

  keys = (30, 48, 46)
  down = ()  # keys that are pressed when the device is opened
  busy = False
  opened = None

  def __init__(self, path):
    if path != '/dev/input/pedal':
      raise FileNotFoundError(2, 'No such file or directory', path)
    self.queue, self.grabbed, self.closed = [], False, False
    FakeInput.opened = self

  def capabilities(self):
    return {1: list(self.keys)}

  def grab(self):
    if self.busy:
      raise OSError(16, 'Device or resource busy')
    self.grabbed = True

  def active_keys(self):
    return list(self.down)

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
