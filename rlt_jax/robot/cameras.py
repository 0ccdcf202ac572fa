"""The interface of the cameras."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Cameras(Protocol):
  """A set of cameras. `observe` returns the newest images without waiting.

  shapes: camera name -> (height, width, 3). Cameras that capture on demand
  also have `trigger()`: the loop calls it at the moment to capture, and the
  following `observe`, maybe in another thread, returns the image that was
  triggered last.
  """

  shapes: Mapping[str, tuple[int, int, int]]

  def observe(self) -> Mapping[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3]."""

  def age_s(self) -> float:
    """Returns the age, s, of the oldest image of the last `observe`."""
