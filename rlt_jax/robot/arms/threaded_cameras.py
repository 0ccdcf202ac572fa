"""Keeps the newest picture of several cameras, each read by its own thread.

Reading a camera waits for its next frame. Three cameras of 30 frames a second,
read one after another, would take 100 ms; here `observe` takes none.
"""

from collections.abc import Callable, Mapping
import threading
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.clock import Clock

_END_TIMEOUT_S = 1.0  # for a thread that waits for a frame


class CameraError(OSError):
  """A camera gives no pictures; the message names it."""


class Source(NamedTuple):
  """A camera. grab: waits for a frame and returns uint8 [S, S, 3], RGB.

  close: of the device.
  """

  grab: Callable[[], np.ndarray]
  close: Callable[[], None]


class _Picture(NamedTuple):
  image: np.ndarray
  time: float


class ThreadedCameras:
  """`Cameras` of `rlt_jax.robot.cameras`; `close` ends its threads.

  shapes: camera name -> (S, S, 3).
  """

  def __init__(
    self,
    sources: Mapping[str, Source],
    *,
    size: int,
    clock: Clock,
    first_timeout_s: float = 5.0,
    lost_after_s: float = 1.0,
  ):
    """Starts the threads and waits for a first picture of each camera.

    Args:
      sources: camera name -> source, open.
      size: S.
      clock: the loop's.
      first_timeout_s: for the first pictures.
      lost_after_s: without a new picture `observe` raises.

    Raises:
      CameraError: a camera gave no picture in time; everything is closed.
    """
    self.shapes = {name: (size, size, 3) for name in sources}
    self._sources, self._clock = dict(sources), clock
    self._lost_after_s = lost_after_s
    self._lock = threading.Condition()
    self._pictures: dict[str, _Picture] = {}
    self._faults: dict[str, str] = {}
    self._closed = False
    self._oldest = -np.inf
    self._threads = [
      threading.Thread(target=self._follow, args=(name,), daemon=True)
      for name in sources
    ]
    for thread in self._threads:
      thread.start()
    with self._lock:
      self._lock.wait_for(
        lambda: self._faults or len(self._pictures) == len(sources),
        first_timeout_s,
      )
      missing = sorted(set(sources) - set(self._pictures))
      causes = [self._faults.get(x, 'it gave none') for x in missing]
    if missing:
      self.close()
      raise CameraError(
        f'Every camera must give a picture within {first_timeout_s:g} s: '
        f'{dict(zip(missing, causes, strict=True))}.'
      )

  def observe(self) -> dict[str, np.ndarray]:
    """Returns camera name -> the newest uint8 [S, S, 3]; does not wait.

    Raises:
      CameraError: a camera failed, or has shown nothing new for long.
    """
    now = self._clock.now()
    with self._lock:
      pictures, faults = dict(self._pictures), dict(self._faults)
    for name, picture in pictures.items():
      if name in faults:
        raise CameraError(f'Camera {name} failed: {faults[name]}.')
      if now - picture.time > self._lost_after_s:
        raise CameraError(
          f'Camera {name} must give a picture every {self._lost_after_s:g} s: '
          f'none for {now - picture.time:.1f} s.'
        )
    self._oldest = min(x.time for x in pictures.values())
    return {name: pictures[name].image for name in self.shapes}

  def age_s(self) -> float:
    """Returns the age, s, of the oldest picture of the last `observe`."""
    return self._clock.now() - self._oldest

  def close(self) -> None:
    """Ends the threads and closes the cameras; may be called again.

    A camera whose driver hangs is left to the end of the process.
    """
    if self._closed:
      return
    self._closed = True
    for thread, source in zip(
      self._threads, self._sources.values(), strict=True
    ):
      thread.join(_END_TIMEOUT_S)
      if not thread.is_alive():
        source.close()

  def _follow(self, name: str) -> None:
    shape = self.shapes[name]
    try:
      while not self._closed:
        image = self._sources[name].grab()
        if image.shape != shape or image.dtype != np.uint8:
          raise CameraError(
            f'a picture must be uint8 {shape}: {image.dtype} {image.shape}'
          )
        with self._lock:
          self._pictures[name] = _Picture(image, self._clock.now())
          self._lock.notify_all()
    except Exception as error:  # a vendor's own, too; observe raises it
      with self._lock:
        self._faults[name] = f'{type(error).__name__}: {error}'
        self._lock.notify_all()
