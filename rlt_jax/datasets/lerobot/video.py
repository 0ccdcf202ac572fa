"""Pictures of a video file at given times, exact to the frame."""

from collections.abc import Iterator
import pathlib
from typing import Any

import numpy as np

from rlt_jax.datasets import recording

# s; beyond it a jump to the next key frame costs less than decoding on.
_JUMP_S = 1.0


def decode(
  file: pathlib.Path, times: np.ndarray, tolerance_s: float
) -> Iterator[np.ndarray]:
  """Yields the pictures uint8 [height, width, 3], RGB, shown at `times`.

  Args:
    file: of the video.
    times: [B] s, increasing.
    tolerance_s: largest distance between a time and its picture's; less than
      half of the time between two pictures.

  Raises:
    ValueError: no such file, a video that does not decode, or no picture at
      one of the times; the message names the file and the time.
  """
  av = recording.import_extra('av', 'Videos')
  if not file.is_file():
    raise ValueError(f'The dataset must hold {file}: no such file.')
  try:
    with av.open(str(file)) as container:
      if not container.streams.video:
        raise ValueError(f'{file} must hold a video: it has none.')
      stream = container.streams.video[0]
      stream.thread_type = 'AUTO'
      yield from _pick(container, stream, times, tolerance_s, file)
  except av.FFmpegError as error:
    raise ValueError(
      f'The video {file} must decode: {error}. Fetch it again; if it plays '
      'elsewhere, its codec is one that PyAV lacks: encode it as h264 or AV1.'
    ) from None


def _pick(
  container: Any,
  stream: Any,
  times: np.ndarray,
  tolerance_s: float,
  file: pathlib.Path,
) -> Iterator[np.ndarray]:
  frames, now = iter(()), -np.inf
  frame = None
  for time in times:
    if frame is None or time - now > _JUMP_S:
      # To the key frame before; half a tolerance absorbs rounding.
      target = max(time - 0.5 * tolerance_s, 0.0)
      container.seek(int(target / stream.time_base), stream=stream)
      frames, frame, now = container.decode(stream), None, -np.inf
    while now < time - tolerance_s:
      frame = next(frames, None)
      if frame is None:
        break
      if frame.time is None:
        raise ValueError(f'Pictures of {file} must have times: one has none.')
      now = frame.time
    if frame is None or now > time + tolerance_s:
      found = (
        'it ends before' if frame is None else f'the next is at {now:.4f} s'
      )
      raise ValueError(
        f'The video {file} must have a picture at {time:.4f} s, within '
        f'{tolerance_s:.4f} s: {found}.'
      )
    yield frame.to_ndarray(format='rgb24')
