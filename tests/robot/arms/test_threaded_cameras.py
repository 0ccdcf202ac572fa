"""Cameras with threads, on stand-ins of OpenCV and RealSense."""

import threading
import time
import types

import numpy as np
import pytest

from rlt_jax.robot import station
from rlt_jax.robot.arms.threaded_cameras import (
  CameraError,
  Source,
  ThreadedCameras,
)
from rlt_jax.robot.clock import MonotonicClock
from tests.robot.test_station import write

_DEVICE = {
  'device': '/dev/video7',
  'width': 12,
  'height': 10,
  'fps': 30,
  'crop': [2, 1, 8],
}


class Camera:
  """Counts its frames; `hang` makes the next one wait."""

  def __init__(self, period_s=0.005):
    self.count, self.closed = 0, threading.Event()
    self.go, self._period_s = threading.Event(), period_s
    self.go.set()

  def grab(self):
    self.go.wait()
    time.sleep(self._period_s)
    self.count += 1
    return np.full((4, 4, 3), self.count % 256, np.uint8)


def _wait(until, what):
  end = time.monotonic() + 20.0
  while not until():
    assert time.monotonic() < end, what
    time.sleep(0.005)


def make(**cameras):
  sources = {k: Source(x.grab, x.closed.set) for k, x in cameras.items()}
  return ThreadedCameras(
    sources, size=4, clock=MonotonicClock(), lost_after_s=0.3
  )


def test_observe_never_waits_and_gives_the_newest():
  slow, fast = Camera(0.05), Camera(0.001)
  cameras = make(slow=slow, fast=fast)
  before = fast.count
  _wait(lambda: fast.count > before + 5, 'frames')
  times = []
  for _ in range(50):
    start = time.monotonic()
    images = cameras.observe()
    times.append(time.monotonic() - start)
    assert 0.0 <= cameras.age_s()
  assert np.median(times) < 0.01  # three orders below a frame of `slow`
  assert list(images) == ['slow', 'fast']
  cameras.close()
  cameras.close()
  assert slow.closed.is_set() and fast.closed.is_set()


def test_a_camera_that_hangs_is_named_and_can_be_left():
  good, hangs = Camera(), Camera()
  cameras = make(good=good, hangs=hangs)
  hangs.go.clear()

  def named():
    try:
      cameras.observe()
    except CameraError as error:
      assert 'Camera hangs must give a picture every 0.3 s' in str(error)
      return True

  _wait(named, 'an error that names it')
  start = time.monotonic()
  cameras.close()
  assert time.monotonic() - start < 10.0
  assert good.closed.is_set() and not hangs.closed.is_set()
  hangs.go.set()


def test_a_camera_that_fails_is_named():
  good, bad = Camera(), Camera()
  cameras = make(good=good, bad=bad)
  bad.grab = None

  def fail():
    raise RuntimeError('unplugged')

  cameras._sources['bad'] = Source(fail, bad.closed.set)

  def named():
    try:
      cameras.observe()
    except CameraError as error:
      return 'Camera bad failed: RuntimeError: unplugged' in str(error)

  _wait(named, 'its name')
  cameras.close()


def test_without_a_first_picture_all_is_closed():
  good, late = Camera(), Camera()
  late.go.clear()
  with pytest.raises(CameraError, match="'late': 'it gave none'"):
    ThreadedCameras(
      {k: Source(x.grab, x.closed.set) for k, x in
       {'good': good, 'late': late}.items()},
      size=4, clock=MonotonicClock(), first_timeout_s=0.1,
    )  # fmt: skip
  assert good.closed.is_set()
  late.go.set()


def _gradient(width, height):
  y, x = np.mgrid[:height, :width]
  return np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)


class FakeCv2(types.ModuleType):
  """What is used of cv2; `resize` repeats or drops pixels."""

  CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT = 3, 4
  CAP_PROP_FPS, CAP_PROP_BUFFERSIZE, INTER_AREA = 5, 38, 3

  def __init__(self):
    super().__init__('cv2')
    self.opened, self.released, self.missing = [], [], ()

  def VideoCapture(self, device):  # noqa: N802
    module = self

    class Capture:
      def __init__(self):
        self.size = {}
        module.opened.append(device)

      def isOpened(self):  # noqa: N802
        return device not in module.missing

      def set(self, prop, value):
        self.size[prop] = value

      def read(self):
        time.sleep(0.002)
        return True, _gradient(self.size[3], self.size[4])[..., ::-1]

      def release(self):
        module.released.append(device)

    return Capture()

  def resize(self, image, size, interpolation):
    assert interpolation == self.INTER_AREA
    step = image.shape[0] // size[0]
    return image[::step, ::step]


class FakeRealsense(types.ModuleType):
  """What is used of pyrealsense2."""

  stream = types.SimpleNamespace(color='color')
  format = types.SimpleNamespace(rgb8='rgb8')

  def __init__(self):
    super().__init__('pyrealsense2')
    self.stopped = []

  def config(self):
    return types.SimpleNamespace(
      enable_device=lambda serial: setattr(self, 'serial', serial),
      enable_stream=lambda *args: setattr(self, 'asked', args),
    )

  def pipeline(self):
    def frames(timeout_ms):
      assert timeout_ms <= 1000
      time.sleep(0.002)
      data = _gradient(self.asked[1], self.asked[2])
      frame = types.SimpleNamespace(get_data=lambda: data)
      return types.SimpleNamespace(get_color_frame=lambda: frame)

    def start(settings):
      if self.serial == 'gone':
        raise RuntimeError('No device connected')

    return types.SimpleNamespace(
      start=start,
      wait_for_frames=frames,
      stop=lambda: self.stopped.append(self.serial),
    )


@pytest.fixture
def packages(monkeypatch):
  cv2, realsense = FakeCv2(), FakeRealsense()
  monkeypatch.setitem(__import__('sys').modules, 'cv2', cv2)
  monkeypatch.setitem(__import__('sys').modules, 'pyrealsense2', realsense)
  return cv2, realsense


def _open(tmp_path, kind, **device):
  path = write(
    tmp_path,
    cameras=kind,
    camera_arguments={'size': 4, 'devices': {'wrist': _DEVICE | device}},
  )
  fields, _ = station.load(path)
  return station.build_cameras(fields, MonotonicClock())


@pytest.mark.parametrize('kind', ['opencv', 'realsense'])
def test_a_station_gets_the_square_in_rgb(tmp_path, packages, kind):
  cameras = _open(tmp_path, kind)
  image = cameras.observe()['wrist']
  expected = _gradient(12, 10)[1:9:2, 2:10:2]
  np.testing.assert_array_equal(image, expected)
  assert cameras.shapes == {'wrist': (4, 4, 3)}
  cameras.close()
  cv2, realsense = packages
  assert (cv2.released or realsense.stopped) == ['/dev/video7']


def test_a_camera_that_does_not_open_is_named(tmp_path, packages):
  packages[0].missing = ('/dev/video7',)
  with pytest.raises(CameraError, match='wrist must open: /dev/video7'):
    _open(tmp_path, 'opencv')
  with pytest.raises(CameraError, match='wrist must open: No device'):
    _open(tmp_path, 'realsense', device='gone')


@pytest.mark.parametrize(
  'device, message',
  [
    ({'crop': [5, 1, 8]}, 'crop must be .* 12 x 10'),
    ({'crop': [0, 0, 0]}, 'crop must be'),
    ({'fps': 0}, 'fps must be positive'),
    ({'width': '640'}, "devices.wrist.width must be int: '640'"),
    ({'zoom': 2}, r"unknown \['zoom'\]"),
  ],
)
def test_a_wrong_camera_is_refused(tmp_path, packages, device, message):
  with pytest.raises(ValueError, match=message):
    _open(tmp_path, 'opencv', **device)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  for kind, name in (('opencv', 'cv2'), ('realsense', 'pyrealsense2')):
    monkeypatch.setitem(__import__('sys').modules, name, None)
    with pytest.raises(ImportError, match='pip install'):
      _open(tmp_path, kind)
