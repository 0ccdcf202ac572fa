"""Cameras that show stripes, with faults on a schedule."""

from collections.abc import Sequence
import math

import numpy as np

from rlt_jax.robot.arms.faults import CameraFault
from rlt_jax.robot.clock import Clock


class FakeCameras:
  """`Cameras` of `rlt_jax.robot.cameras`; a new picture `frames_per_s` times.

  shapes: camera name -> (S, S, 3).
  """

  def __init__(
    self,
    names: Sequence[str],
    *,
    clock: Clock,
    size: int = 64,
    frames_per_s: float = 30.0,
    faults: Sequence[CameraFault] = (),
  ):
    """Shows pictures from now on.

    Raises:
      ValueError: a fault names another camera.
    """
    for fault in faults:
      if fault.camera not in names:
        raise ValueError(f'camera must be one of {names}: {fault.camera}.')
    self.shapes = {name: (size, size, 3) for name in names}
    self._clock, self._size, self._hz = clock, size, frames_per_s
    self._faults, self._start_time = tuple(faults), clock.now()
    self._oldest = -math.inf

  def observe(self) -> dict[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3]."""
    frames = {name: self._frame(name) for name in self.shapes}
    self._oldest = min(capture_time for _, capture_time in frames.values())
    return {name: image for name, (image, _) in frames.items()}

  def age_s(self) -> float:
    """Returns the age, s, of the oldest picture of the last `observe`."""
    return self._clock.now() - self._start_time - self._oldest

  def _frame(self, name: str) -> tuple[np.ndarray, float]:
    """Returns a picture and its time stamp, s since the start."""
    stamp = capture_time = self._clock.now() - self._start_time
    dark = False
    for fault in self._faults:
      if fault.camera == name and fault.at_s <= stamp < fault.end_s:
        dark = fault.kind == 'dark'
        capture_time = capture_time if dark else fault.at_s
        stamp = fault.at_s if fault.kind == 'stale' else stamp
    count = math.floor(capture_time * self._hz)
    # Odd, so that a picture comes again after 256 frames and not 32: two looks
    # at the same one are a camera that is frozen.
    shift = list(self.shapes).index(name) * 17 + count * 9
    row = ((np.arange(self._size) * 4 + shift) % 256).astype(np.uint8)
    image = np.tile(row[None, :, None], (self._size, 1, 3))
    stamp = math.floor(stamp * self._hz) / self._hz
    return image * np.uint8(not dark), stamp
