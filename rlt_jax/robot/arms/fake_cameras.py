"""Cameras that show stripes, with faults on a schedule."""

from collections.abc import Sequence
import math

import numpy as np

from rlt_jax.robot.arms.faults import CameraFault
from rlt_jax.robot.clock import Clock

_FRAMES_PER_S = 30.0


class FakeCameras:
  """`Cameras` of `rlt_jax.robot.cameras`; a new picture 30 times a second.

  shapes: camera name -> (S, S, 3).
  """

  def __init__(
    self,
    names: Sequence[str],
    *,
    clock: Clock,
    size: int = 64,
    faults: Sequence[CameraFault] = (),
  ):
    """Starts at once.

    Raises:
      ValueError: a fault of a camera that is not among the names.
    """
    for fault in faults:
      if fault.camera not in names:
        raise ValueError(f'camera must be one of {names}: {fault.camera}.')
    self.shapes = {name: (size, size, 3) for name in names}
    self._clock, self._size = clock, size
    self._faults, self._began = tuple(faults), clock.now()
    self._oldest = -math.inf

  def observe(self) -> dict[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3]."""
    frames = {name: self._frame(name) for name in self.shapes}
    self._oldest = min(taken for _, taken in frames.values())
    return {name: image for name, (image, _) in frames.items()}

  def age_s(self) -> float:
    """Returns the age, s, of the oldest picture of the last `observe`."""
    return self._clock.now() - self._began - self._oldest

  def _frame(self, name: str) -> tuple[np.ndarray, float]:
    """Returns a picture and the time that it says it was taken, from 0."""
    said = taken = self._clock.now() - self._began
    dark = False
    for fault in self._faults:
      if fault.camera == name and fault.at_s <= said < fault.end_s:
        dark = fault.kind == 'dark'
        taken = taken if dark else fault.at_s
        said = fault.at_s if fault.kind == 'stale' else said
    count = math.floor(taken * _FRAMES_PER_S)
    shift = list(self.shapes).index(name) * 17 + count * 8
    row = ((np.arange(self._size) * 4 + shift) % 256).astype(np.uint8)
    image = np.tile(row[None, :, None], (self._size, 1, 3))
    said = math.floor(said * _FRAMES_PER_S) / _FRAMES_PER_S
    return image * np.uint8(not dark), said
