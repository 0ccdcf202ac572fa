"""Pictures of datasets: decoding, cutting, and the size that a VLA reads."""

import io

import numpy as np
import PIL.Image


def decode(content: bytes, where: str) -> np.ndarray:
  """Returns an encoded picture as uint8 [height, width, 3], RGB.

  Raises:
    ValueError: it does not decode, or is no picture in color.
  """
  try:
    with PIL.Image.open(io.BytesIO(content)) as picture:
      if picture.mode != 'RGB':
        raise ValueError(
          f'Pictures must be RGB with 8 bits: {picture.mode} in {where}.'
        )
      return np.asarray(picture)
  except (OSError, SyntaxError) as error:
    raise ValueError(f'Pictures must decode: {where} ({error}).') from None


def fit(
  picture: np.ndarray,
  size: tuple[int, int],
  crop: tuple[int, int, int] | None = None,
) -> np.ndarray:
  """Returns a picture as uint8 [*size, 3].

  Without a crop the aspect is kept, and black fills the rest on both sides, as
  openpi pads. Pictures of the right size are not touched. Pillow's bilinear
  filter resizes, which averages where it shrinks.

  Args:
    picture: uint8 [height, width, 3].
    size: height and width, pixels.
    crop: left edge, upper edge and side of the square to take first.
  """
  if crop is not None:
    left, top, side = crop
    picture = picture[top : top + side, left : left + side]
  height, width = picture.shape[:2]
  if (height, width) == size:
    return np.ascontiguousarray(picture)
  ratio = max(height / size[0], width / size[1])
  new_height, new_width = (max(1, int(x / ratio)) for x in (height, width))
  resized = PIL.Image.fromarray(np.ascontiguousarray(picture)).resize(
    (new_width, new_height), PIL.Image.Resampling.BILINEAR
  )
  canvas = np.zeros((*size, 3), np.uint8)
  above, left = (size[0] - new_height) // 2, (size[1] - new_width) // 2
  canvas[above : above + new_height, left : left + new_width] = resized
  return canvas
