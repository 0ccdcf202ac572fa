import io
import json
import pathlib

import numpy as np
import PIL.Image
import pytest

from rlt_jax.datasets import pictures

_OPENPI = (
  pathlib.Path(__file__).parents[1] / 'vlas/openpi/reference/transforms.json'
)


def test_other_shapes_are_padded_as_openpi_does():
  case = json.loads(_OPENPI.read_text('utf-8'))['image']
  picture = np.array(case['input'], np.uint8)
  assert picture.shape == (30, 40, 3)
  np.testing.assert_array_equal(
    pictures.fit(picture, (28, 28)), case['resized_28']
  )


def test_pictures_of_the_right_size_are_not_touched():
  picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  np.testing.assert_array_equal(pictures.fit(picture, (8, 8)), picture)


def test_a_crop_is_a_square_of_the_picture():
  picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
  found = pictures.fit(picture, (32, 32), crop=(10, 4, 32))
  np.testing.assert_array_equal(found, picture[4:36, 10:42])
  wide = pictures.fit(picture, (16, 32), crop=(10, 4, 32))
  whole = pictures.fit(picture[4:36, 10:42], (16, 32))
  np.testing.assert_array_equal(wide, whole)


def _encode(picture, format='PNG'):
  file = io.BytesIO()
  picture.save(file, format)
  return file.getvalue()


def test_pictures_that_do_not_decode_are_named():
  image = PIL.Image.fromarray(np.full((8, 8, 3), 7, np.uint8))
  content = _encode(image)
  assert (
    pictures.decode(content, 'row 1').tolist() == np.asarray(image).tolist()
  )
  with pytest.raises(ValueError, match='must decode: row 1'):
    pictures.decode(content[:40], 'row 1')
  with pytest.raises(ValueError, match='must be RGB with 8 bits: L in row 1'):
    pictures.decode(_encode(image.convert('L')), 'row 1')


def test_a_picture_may_be_wider_than_high():
  picture = np.full((6, 12, 3), 200, np.uint8)
  np.testing.assert_array_equal(pictures.fit(picture, (6, 12)), picture)
  found = pictures.fit(picture, (8, 12))
  assert found.shape == (8, 12, 3)
  np.testing.assert_array_equal(found[1:7], picture)
  assert not found[[0, 7]].any()
