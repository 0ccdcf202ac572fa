"""Pictures of random solids, and where these are said to be."""

import jax
import numpy as np
import pytest

from rlt_jax.resnet10 import renders


@pytest.fixture(scope='module')
def scene():
  return renders.Scene(3, 64)


def test_the_same_key_gives_the_same_pictures(scene):
  one, same = (scene.draw(jax.random.key(1), 4) for _ in range(2))
  other = scene.draw(jax.random.key(2), 4)
  assert one.images.shape == (4, 64, 64, 3) and one.images.dtype == np.uint8
  assert one.targets.shape == (4, renders.TARGETS)
  np.testing.assert_array_equal(one.images, same.images)
  np.testing.assert_array_equal(one.targets, same.targets)
  assert (one.images != other.images).any()


def test_solids_are_drawn_where_the_targets_say(scene):
  picture = scene.draw(jax.random.key(5), 24)
  solids = np.asarray(picture.targets).reshape(24, renders.SOLIDS, 9)
  assert (np.abs(solids[:, :, :2]) < 0.6).all()  # all in view
  # The nearest solid covers the pixel at its middle, so that its color there
  # differs from that of the picture's corner, the plane, in nearly all.
  half = np.tan(np.deg2rad(30.0))
  seen = 0
  for image, solid in zip(np.asarray(picture.images, int), solids, strict=True):
    x, y, _ = solid[np.argmin(solid[:, 2])][:3]
    column, row = (np.array([x, -y]) / half + 1) / 2 * 64
    pixel = image[np.clip(int(row), 0, 63), np.clip(int(column), 0, 63)]
    hue = pixel / max(pixel.sum(), 1)
    plane = np.median(image.reshape(-1, 3), axis=0)
    seen += np.abs(hue - plane / plane.sum()).sum() > 0.1
  assert seen >= 20


def test_an_axis_and_its_opposite_are_the_same(scene):
  solids = np.asarray(scene.draw(jax.random.key(6), 3).targets)
  square = solids.reshape(-1, 9)[:, 3:]
  # The trace of a unit axis times itself: entries xx, yy, zz.
  np.testing.assert_allclose(square[:, [0, 3, 5]].sum(1), 1.0, atol=1e-5)
