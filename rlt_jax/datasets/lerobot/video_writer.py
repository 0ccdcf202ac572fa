"""Encodes the pictures of a camera as a video, with PyAV."""

import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.datasets import recording
from rlt_jax.datasets.lerobot.format import (
  Feature,
  HEIGHT_WIDTH_CHANNELS,
  VIDEO,
)

_PIXELS = 'yuv420p'  # what every player and LeRobot's decoders take
_KEY_FRAME_EVERY = 2  # LeRobot's: training jumps to single frames


class Codec(NamedTuple):
  """encoder: of FFmpeg. options: for it; crf sets the quality."""

  encoder: str
  options: dict[str, str]


# LeRobot itself writes AV1 with these; h264 is decoded faster.
CODECS = {
  'h264': Codec('libx264', {'crf': '18'}),
  'av1': Codec('libsvtav1', {'crf': '30', 'preset': '12'}),
}


def feature(size: tuple[int, int], codec: str, fps: int) -> Feature:
  """Returns the feature of a video's pictures.

  Args:
    size: height and width, both even.
    codec: of CODECS.
    fps: pictures a second.

  Raises:
    ValueError: an odd size.
  """
  height, width = size
  if height % 2 or width % 2:
    raise ValueError(
      f'The pictures of a video must have an even height and width: {height}x'
      f'{width}. Write this camera as pictures, without a video.'
    )
  info = {
    'video.height': height,
    'video.width': width,
    'video.codec': codec,
    'video.pix_fmt': _PIXELS,
    'video.fps': fps,
    'video.channels': 3,
    'has_audio': False,
    'is_depth_map': False,
  }
  return Feature(VIDEO, (height, width, 3), HEIGHT_WIDTH_CHANNELS, info)


class VideoWriter:
  """Writes one file, picture by picture."""

  def __init__(self, path: pathlib.Path, feature: Feature):
    """Opens the file.

    Args:
      path: of the file, an mp4 whatever it is called.
      feature: of this module's function.

    Raises:
      ValueError: PyAV is built without the encoder.
    """
    # SVT-AV1 prints its settings for every file otherwise.
    os.environ.setdefault('SVT_LOG', '1')
    av = recording.import_extra('av', 'Videos')
    name = feature.info['video.codec']
    codec, fps = CODECS[name], feature.info['video.fps']
    self._path = path
    self._container = av.open(str(path), 'w', format='mp4')
    try:
      self._stream = self._container.add_stream(
        codec.encoder, rate=fps, options=codec.options
      )
    except av.FFmpegError as error:
      self._container.close()
      raise ValueError(
        f'PyAV must have the encoder {codec.encoder} for {name}: {error}.'
      ) from None
    self._stream.height, self._stream.width = feature.size
    self._stream.pix_fmt = _PIXELS
    self._stream.gop_size = _KEY_FRAME_EVERY
    self._make_frame: Any = av.VideoFrame.from_ndarray

  def add(self, image: np.ndarray) -> None:
    """Adds a picture, uint8 [height, width, 3]."""
    frame = self._make_frame(np.ascontiguousarray(image), format='rgb24')
    self._container.mux(self._stream.encode(frame))

  def close(self) -> None:
    """Ends the video; it is on the disk when this returns."""
    self._container.mux(self._stream.encode())
    self._container.close()
    with self._path.open('rb') as file:
      os.fsync(file.fileno())

  def discard(self) -> None:
    """Closes the file as it is."""
    self._container.close()
