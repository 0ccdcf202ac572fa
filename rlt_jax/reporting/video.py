"""Video of matched episodes before and after practice, as one GIF."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlt_jax import files

STRIDE = 4  # control steps per film frame: 50 Hz in real time, at 12.5 per s
_ZOOM = 3  # of images that are shown without a view
_MARGIN = 6  # pixels
_BAR = 22  # pixels, height of a caption
_BACKGROUND, _TEXT = (24, 26, 30), (236, 236, 236)
_GOOD, _BAD = (110, 205, 120), (240, 130, 90)
_COLORS = 240  # of 256; the others are left for the captions
_END_FRAMES = 10  # long enough to read both outcomes


class Clip(NamedTuple):
  """One recorded episode.

  frames: camera name -> uint8 [T, S, S, 3], one image per control step.
  outcome: name of the ending, shown when the clip is over.
  steps: control steps to the end, at most T.
  view: uint8 [T / STRIDE, rounded up, F, F, 3], a large picture of each
    STRIDE-th step, and one of the last step; None without.
  """

  frames: Mapping[str, np.ndarray]
  outcome: str
  steps: int
  view: np.ndarray | None = None


def view_steps(steps: int) -> list[int]:
  """Returns the control steps, from 0, whose large pictures a clip has."""
  return [*range(0, steps, STRIDE), steps - 1]


def write_film(
  path: str | os.PathLike[str],
  before: Sequence[Clip],
  after: Sequence[Clip],
  captions: tuple[str, str] = ('base policy', 'after practice'),
  *,
  control_hz: float,
) -> None:
  """Writes pairs of matched episodes, one pair after another.

  The left column is `before`, the right one `after`; cameras are below each
  other, or where there is a large view, small and side by side below it, as the
  policy sees them. The shorter clip of a pair shows its last frame and its
  outcome until the longer one ends.

  Args:
    path: of the GIF.
    before, after: clip i of each started from the same state.
    captions: titles of the two columns.
    control_hz: control steps per second of the clips.

  Raises:
    ValueError: no pair, or clips that do not match in cameras, image size or
      view.
  """
  _check(before, after)
  pages = [
    page
    for pair in zip(before, after, strict=True)
    for page in _pages(pair, captions, control_hz)
  ]
  palette = _shared_palette(pages)
  # Without dithering unchanged pixels stay equal, and GIF stores changes only.
  first, *rest = (
    page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages
  )
  with files.open_atomically(path) as file:
    first.save(
      file,
      format='GIF',
      save_all=True,
      append_images=rest,
      duration=round(1000 * STRIDE / control_hz),
      loop=0,
      optimize=True,
      disposal=1,
    )


def _pages(
  pair: tuple[Clip, Clip],
  captions: tuple[str, str],
  control_hz: float,
) -> Iterator[Image.Image]:
  """Yields the film frames of one pair, the last one several times."""
  longest = max(clip.steps for clip in pair)
  # The last page shows the end itself, even between two strides.
  for step in [*range(0, longest, STRIDE), *[longest] * _END_FRAMES]:
    columns = [_pictures(clip, step) for clip in pair]
    height, width = columns[0].shape[:2]
    page = Image.new(
      'RGB',
      (2 * width + 3 * _MARGIN, height + 2 * _BAR + _MARGIN),
      _BACKGROUND,
    )
    draw = ImageDraw.Draw(page)
    for i, clip in enumerate(pair):
      left = _MARGIN + i * (width + _MARGIN)
      page.paste(Image.fromarray(columns[i]), (left, 2 * _BAR))
      _write(draw, (left, 4), captions[i], _TEXT, width)
      _write(draw, (left, _BAR + 2), *_status(clip, step, control_hz), width)
    yield page


def _pictures(clip: Clip, step: int) -> np.ndarray:
  """Returns a clip's cameras below each other, enlarged, a margin above each.

  Where there is a view it is above the cameras, which are small then. Past its
  end a clip shows its last image.
  """
  if clip.view is not None:
    return _view_with_insets(clip, step)
  rows = []
  for images in clip.frames.values():
    image = images[min(step, clip.steps - 1)]
    image = image.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
    margin = np.full((_MARGIN, image.shape[1], 3), _BACKGROUND, np.uint8)
    rows += [margin, image]
  return np.concatenate(rows)


def _view_with_insets(clip: Clip, step: int) -> np.ndarray:
  now = -1 if step >= clip.steps - 1 else step // STRIDE
  view = clip.view[now]
  insets = [x[min(step, clip.steps - 1)] for x in clip.frames.values()]
  side, width = insets[0].shape[0], view.shape[1]
  height = len(view) + side + 2 * _MARGIN
  picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
  picture[_MARGIN : _MARGIN + len(view)] = view
  for i, inset in enumerate(insets):
    left = i * (side + _MARGIN)
    picture[-side:, left : left + side] = inset
  return picture


def _status(
  clip: Clip, step: int, control_hz: float
) -> tuple[str, tuple[int, int, int]]:
  """Returns the caption of a clip at `step` and its color."""
  if step < clip.steps:
    return f'step {step}   {step / control_hz:.1f} s', _TEXT
  color = _GOOD if clip.outcome == 'success' else _BAD
  outcome = clip.outcome.replace('_', ' ')
  return f'{outcome} {clip.steps / control_hz:.1f} s', color


def _write(
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


def _shared_palette(pages: Sequence[Image.Image]) -> Image.Image:
  """Returns an image whose palette suits a sample of all pages.

  One palette for the whole film, or colors would flicker between pages.
  """
  picks = np.unique(np.linspace(0, len(pages) - 1, 12).astype(int))
  sample = np.concatenate([np.asarray(pages[i]) for i in picks], axis=1)
  seen = Image.fromarray(sample).quantize(_COLORS).getpalette()
  # Quantizing would blend the captions' colors, which have a meaning.
  fixed = np.ravel((_BACKGROUND, _TEXT, _GOOD, _BAD)).tolist()
  palette = Image.new('P', (1, 1))
  palette.putpalette(fixed + seen[: 3 * _COLORS])
  return palette


def _check(before: Sequence[Clip], after: Sequence[Clip]) -> None:
  """Raises ValueError if the clips cannot be shown in pairs."""
  if not before or len(before) != len(after):
    raise ValueError(
      'A film needs one clip after for each before, and at least one: '
      f'{len(before)}, {len(after)}.'
    )
  cameras = list(before[0].frames)
  if not cameras:
    raise ValueError('A clip needs at least one camera: none.')
  side = before[0].frames[cameras[0]].shape[1]
  size = None if before[0].view is None else before[0].view.shape[1]
  for clip in (*before, *after):
    if list(clip.frames) != cameras:
      raise ValueError(
        f'All clips must show the same cameras: {cameras}, {list(clip.frames)}.'
      )
    _check_view(clip, size, len(cameras) * (side + _MARGIN) - _MARGIN)
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


def _check_view(clip: Clip, size: int | None, width: int) -> None:
  """Raises ValueError if a clip has not the view that the others have.

  Args:
    clip: to check.
    size: side of the view in pixels; None for none.
    width: of the cameras side by side, which a view must not be below.
  """
  found = None if clip.view is None else clip.view.shape
  if found and clip.view.dtype != np.uint8:
    raise ValueError(f'A view must be uint8: {clip.view.dtype}.')
  expected = None
  if size is not None:
    expected = (len(view_steps(clip.steps)), size, size, 3)
  if found != expected:
    raise ValueError(f'A view must be uint8 {expected}: {found}.')
  if size is not None and size < width:
    raise ValueError(
      f'A view must be at least as wide as its cameras, {width}: {size}.'
    )
