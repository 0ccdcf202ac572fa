"""A film of matched episodes before and after practice, as one GIF."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_ZOOM = 3
_MARGIN = 6  # pixels
_BAR = 22  # pixels, height of a caption bar
_PAPER = (24, 26, 30)
_INK = (236, 236, 236)
_GOOD = (110, 205, 120)
_BAD = (240, 130, 90)
_TEXT = (_INK, _GOOD, _BAD)
_COLORS = 240  # of 256; the rest is for the text
_END_HOLD = 10  # film frames: long enough to read both outcomes
_SUCCESS = 'success'


class Clip(NamedTuple):
  """One recorded episode.

  frames: camera name -> uint8 [T, S, S, 3], one image per control step.
  outcome: name of the ending, shown when the clip is over.
  steps: control steps to the end, at most T.
  """

  frames: Mapping[str, np.ndarray]
  outcome: str
  steps: int


def write_film(
  path: str | os.PathLike[str],
  before: Sequence[Clip],
  after: Sequence[Clip],
  captions: tuple[str, str] = ('base policy', 'after practice'),
  *,
  control_hz: float = 50,
  stride: int = 4,
) -> None:
  """Writes matched episodes side by side, pair after pair.

  The left column is `before`, the right one `after`; the cameras stand below
  each other. The shorter clip of a pair holds its last frame and its outcome
  until the longer one is over.

  Args:
    path: of the GIF.
    before, after: clip i of each started from the same state.
    captions: titles of the two columns.
    control_hz: control steps per second of the clips.
    stride: control steps per film frame; 4 of 50 Hz plays in real time at
      12.5 frames per second.

  Raises:
    ValueError: no pair, or clips that do not match in cameras or image size.
  """
  _check(before, after)
  frames = [
    frame
    for pair in zip(before, after, strict=True)
    for frame in _pair_frames(pair, captions, control_hz, stride)
  ]
  palette = _shared_palette(frames)
  # Without dithering unchanged pixels stay equal, and GIF stores changes only.
  indexed = [
    frame.quantize(palette=palette, dither=Image.Dither.NONE)
    for frame in frames
  ]
  indexed[0].save(
    path,
    format='GIF',
    save_all=True,
    append_images=indexed[1:],
    duration=round(1000 * stride / control_hz),
    loop=0,
    optimize=True,
    disposal=1,
  )


def _pair_frames(
  pair: tuple[Clip, Clip],
  captions: tuple[str, str],
  control_hz: float,
  stride: int,
) -> Iterator[Image.Image]:
  """Yields the film frames of one pair, with the hold at its end."""
  longest = max(clip.steps for clip in pair)
  # The last frame is the end itself, wherever the stride falls.
  times = [*range(0, longest, stride), *[longest] * _END_HOLD]
  for step in times:
    yield _frame(pair, captions, step, control_hz)


def _frame(
  pair: tuple[Clip, Clip],
  captions: tuple[str, str],
  step: int,
  control_hz: float,
) -> Image.Image:
  cameras = list(pair[0].frames)
  side = _ZOOM * pair[0].frames[cameras[0]].shape[1]
  rows = len(cameras) * (side + _MARGIN)
  size = (2 * side + 3 * _MARGIN, 2 * _BAR + rows + _MARGIN)
  page = Image.new('RGB', size, _PAPER)
  draw = ImageDraw.Draw(page)
  for column, clip in enumerate(pair):
    left = _MARGIN + column * (side + _MARGIN)
    _text(draw, (left, 4), captions[column], _INK, side)
    text, color = _status(clip, step, control_hz)
    _text(draw, (left, _BAR + 2), text, color, side)
    for row, camera in enumerate(cameras):
      # Past its end a clip holds its last image.
      image = clip.frames[camera][min(step, clip.steps - 1)]
      zoomed = Image.fromarray(image).resize(
        (side, side), Image.Resampling.NEAREST
      )
      page.paste(zoomed, (left, 2 * _BAR + row * (side + _MARGIN) + _MARGIN))
  return page


def _status(
  clip: Clip, step: int, control_hz: float
) -> tuple[str, tuple[int, int, int]]:
  """Returns the caption of a clip at `step` and its color."""
  if step < clip.steps:
    return f'step {step}   {step / control_hz:.1f} s', _INK
  color = _GOOD if clip.outcome == _SUCCESS else _BAD
  outcome = clip.outcome.replace('_', ' ')
  return f'{outcome} {clip.steps / control_hz:.1f} s', color


def _text(
  draw: ImageDraw.ImageDraw,
  place: tuple[int, int],
  text: str,
  color: tuple[int, int, int],
  width: int,
) -> None:
  """Draws `text` as large as fits `width` pixels, at most 15 high."""
  for size in range(15, 6, -1):
    font = ImageFont.load_default(size)
    if draw.textlength(text, font=font) <= width:
      break
  draw.text(place, text, fill=color, font=font)


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
  """Returns an image whose palette suits a sample of all frames.

  One palette for the whole film: colors must not flicker between frames.
  """
  picks = np.unique(np.linspace(0, len(frames) - 1, 12).astype(int))
  sample = np.concatenate([np.asarray(frames[i]) for i in picks], axis=1)
  fixed = [channel for color in (_PAPER, *_TEXT) for channel in color]
  seen = Image.fromarray(sample).quantize(_COLORS).getpalette()
  palette = Image.new('P', (1, 1))
  # The text colors carry meaning: a median cut would blend them away.
  palette.putpalette(fixed + seen[: 3 * _COLORS])
  return palette


def _check(before: Sequence[Clip], after: Sequence[Clip]) -> None:
  if not before or len(before) != len(after):
    raise ValueError(
      'A film needs one clip after for each before, and at least one: '
      f'{len(before)}, {len(after)}.'
    )
  first = before[0]
  if not first.frames:
    raise ValueError('A clip needs at least one camera: none.')
  side = next(iter(first.frames.values())).shape[1]
  for clip in (*before, *after):
    if list(clip.frames) != list(first.frames):
      raise ValueError(
        'All clips must show the same cameras: '
        f'{list(first.frames)}, {list(clip.frames)}.'
      )
    for camera, images in clip.frames.items():
      if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        raise ValueError(
          f'Images must be uint8 [T, {side}, {side}, 3]: '
          f'{camera}, {images.dtype}, {images.shape}.'
        )
      if not 1 <= clip.steps <= len(images):
        raise ValueError(
          f'steps must be in 1..{len(images)}, the images of {camera}: '
          f'{clip.steps}.'
        )
