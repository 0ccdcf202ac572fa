"""PNG files as Pillow reads them."""

import io

import numpy as np
from PIL import Image
import pytest

from rlt_jax.robot.recording import png


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (5, 1), (48, 64)])
def test_pillow_reads_the_very_pixels(size):
  pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
  pixels[: size[0] // 2] = 7  # runs, too
  image = Image.open(io.BytesIO(png.encode(pixels)))
  assert image.mode == 'RGB'
  np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(
  'image',
  [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), 'u1')],
)
def test_another_kind_of_array_is_refused(image):
  with pytest.raises(ValueError, match=r'must be uint8 \[height, width, 3\]'):
    png.encode(image)
