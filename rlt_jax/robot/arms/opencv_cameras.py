"""Cameras that OpenCV can open: USB cameras and video devices.

Arguments of a station's file (`camera_arguments`):

  {"size": 64, "devices": {
    "base": {"device": "/dev/video0", "width": 640, "height": 480, "fps": 30,
             "crop": [80, 0, 480]}}}

device: a path, better one of /dev/v4l/by-id, which stays the same, or an
address. crop: left, top and side, pixels, of the square that the VLA sees,
which is then scaled to `size`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.robot.arms.threaded_cameras import (
  CameraError,
  Source,
  ThreadedCameras,
)
from rlt_jax.robot.clock import Clock


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraConfig:
  """A camera; see the module. width, height: pixels. fps: frames a second."""

  device: str
  width: int
  height: int
  fps: int
  crop: tuple[int, int, int]

  def __post_init__(self):
    for name in ('width', 'height', 'fps'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    left, top, side = self.crop
    if not (
      side >= 1
      and 0 <= left <= self.width - side
      and 0 <= top <= self.height - side
    ):
      raise ValueError(
        'crop must be left, top and side of a square in the picture of '
        f'{self.width} x {self.height}: {self.crop}.'
      )

  def cut(self, image: np.ndarray) -> np.ndarray:
    """Returns the square [side, side, 3] of a picture.

    Raises:
      CameraError: the picture has another size.
    """
    if image.shape != (self.height, self.width, 3):
      raise CameraError(
        f'a picture of {self.device} must be {self.width} x {self.height}: '
        f'{image.shape}'
      )
    left, top, side = self.crop
    return image[top : top + side, left : left + side]


def open_cameras(
  names: Sequence[str],
  *,
  clock: Clock,
  size: int,
  devices: Mapping[str, Any],
) -> ThreadedCameras:
  """Opens the cameras of a station.

  Args:
    names: of the cameras, in the bundle's order.
    clock: the loop's.
    size: S of the VLA.
    devices: camera name -> the fields of `CameraConfig`.

  Raises:
    ValueError: an argument that breaks its rule.
    ImportError: OpenCV is not installed.
    CameraError: a camera cannot be opened or gives no picture.
  """
  try:
    import cv2
  except ImportError as error:
    raise ImportError(
      'These cameras need OpenCV: pip install opencv-python-headless'
    ) from error
  return open_all(
    names,
    devices,
    lambda name, config: _open(cv2, name, config, size),
    size=size,
    clock=clock,
  )


def open_all(
  names: Sequence[str],
  devices: Mapping[str, Any],
  open_one: Callable[[str, CameraConfig], Source],
  *,
  size: int,
  clock: Clock,
) -> ThreadedCameras:
  """Opens cameras one by one; closes those that are open if one fails.

  Args:
    names, devices, size, clock: see `open_cameras`.
    open_one: camera name and config -> source.
  """
  if type(size) is not int or size < 1:
    raise ValueError(f'size must be an integer from 1 on: {size!r}.')
  if not isinstance(devices, Mapping) or set(devices) != set(names):
    raise ValueError(f'devices must be those of {list(names)}: {devices!r}.')
  configs = {
    name: config_lib.from_arguments(
      CameraConfig, devices[name], f'camera_arguments.devices.{name}'
    )
    for name in names
  }
  sources: dict[str, Source] = {}
  try:
    for name, config in configs.items():
      sources[name] = open_one(name, config)
  except BaseException:
    for source in sources.values():
      source.close()
    raise
  return ThreadedCameras(sources, size=size, clock=clock)


def _open(cv2: Any, name: str, config: CameraConfig, size: int) -> Source:
  capture = cv2.VideoCapture(config.device)
  if not capture.isOpened():
    capture.release()
    raise CameraError(f'Camera {name} must open: {config.device}.')
  capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
  capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
  capture.set(cv2.CAP_PROP_FPS, config.fps)
  # A queue of frames would make every picture old.
  capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

  def grab() -> np.ndarray:
    came, image = capture.read()
    if not came:
      raise CameraError(f'{config.device} gave no frame')
    square = cv2.resize(
      config.cut(image), (size, size), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(square[..., ::-1])  # OpenCV has BGR

  return Source(grab, capture.release)
