import json

import numpy as np
from PIL import Image
import pytest

from rlt_jax.vlas.openpi import images
from tests.vlas.openpi import models


def test_a_resized_picture_equals_openpis():
  case = json.loads((models.REFERENCE / 'transforms.json').read_text())['image']
  found = images.resize_with_pad(np.array(case['input'], np.uint8), 28)
  expected = np.array(case['resized_28'])
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, expected)
  assert not expected[0].any() and expected[14].any()  # black above


@pytest.mark.parametrize(
  'size, side', [((64, 64), 224), ((64, 48), 224), ((300, 200), 56)]
)
def test_any_size_equals_pil(size, side):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (2, *size, 3)).astype(np.uint8)
  found = np.asarray(images.resize_with_pad(pixels, side)).astype(int)
  ratio = max(size) / side
  height, width = int(size[0] / ratio), int(size[1] / ratio)
  top, left = (side - height) // 2, (side - width) // 2
  for row, picture in zip(found, pixels, strict=True):
    resized = Image.fromarray(picture).resize(
      (width, height), Image.Resampling.BILINEAR
    )
    inner = row[top : top + height, left : left + width]
    np.testing.assert_array_equal(inner, resized)
    assert row.sum() == inner.sum()


def test_a_picture_of_the_right_size_is_the_same():
  pixels = np.zeros((1, 28, 28, 3), np.uint8)
  assert images.resize_with_pad(pixels, 28) is pixels
