"""Color pictures of Intel RealSense cameras.

Arguments as in `opencv_cameras`; `device` is the serial number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlt_jax.robot.arms.opencv_cameras import CameraConfig, open_all
from rlt_jax.robot.arms.threaded_cameras import (
  CameraError,
  Source,
  ThreadedCameras,
)
from rlt_jax.robot.clock import Clock

_FRAME_TIMEOUT_MS = 500


def open_cameras(
  names: Sequence[str],
  *,
  clock: Clock,
  size: int,
  devices: Mapping[str, Any],
) -> ThreadedCameras:
  """Opens the cameras of a station; see `opencv_cameras.open_cameras`."""
  try:
    import cv2
    import pyrealsense2
  except ImportError as error:
    raise ImportError(
      'RealSense cameras need packages: pip install pyrealsense2 '
      'opencv-python-headless'
    ) from error
  return open_all(
    names,
    devices,
    lambda name, config: _open(pyrealsense2, cv2, name, config, size),
    size=size,
    clock=clock,
  )


def _open(
  realsense: Any, cv2: Any, name: str, config: CameraConfig, size: int
) -> Source:
  pipeline, settings = realsense.pipeline(), realsense.config()
  settings.enable_device(config.device)
  settings.enable_stream(
    realsense.stream.color,
    config.width,
    config.height,
    realsense.format.rgb8,
    config.fps,
  )
  try:
    pipeline.start(settings)
  except RuntimeError as error:  # all that the vendor's package raises
    raise CameraError(f'Camera {name} must open: {error}.') from error

  def grab() -> np.ndarray:
    frames = pipeline.wait_for_frames(_FRAME_TIMEOUT_MS)
    image = np.asanyarray(frames.get_color_frame().get_data())
    square = cv2.resize(
      config.cut(image), (size, size), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(square)

  return Source(grab, pipeline.stop)
