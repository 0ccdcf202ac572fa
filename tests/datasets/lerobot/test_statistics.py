"""Statistics of all frames, against NumPy."""

import json

import numpy as np
import pytest

from rlt_jax.datasets.lerobot import statistics


@pytest.mark.parametrize('num', [1, 2, 7, 1000])
def test_numbers_have_the_quantiles_of_all_frames(num):
  values = np.random.default_rng(0).normal(size=(num, 3)).astype(np.float32)
  found = statistics.of_numbers(values)
  for name, share in statistics.QUANTILES.items():
    np.testing.assert_allclose(
      found[name], np.quantile(np.float64(values), share, axis=0)
    )
  np.testing.assert_allclose(found['std'], np.float64(values).std(0))
  assert found['count'].tolist() == [num]
  # What json cannot hold would only show when a dataset is written.
  table = statistics.to_json({'action': found}, ['action'])
  assert json.loads(json.dumps(table))['action']['min'] == found['min'].tolist()


@pytest.mark.parametrize('num', [1, 3])
def test_pixels_are_counted_exactly(num):
  rng = np.random.default_rng(num)
  images = rng.integers(0, 256, (num, 5, 7, 3), np.uint8)
  images[:, :3, :, 2] = 9  # a level that many pixels share
  counts = sum(statistics.histogram(x) for x in images)
  found = statistics.of_pixels(counts, num)
  pixels = images.reshape(-1, 3) / 255.0
  expected = statistics.of_numbers(pixels) | {'count': np.array([num])}
  assert set(found) == set(expected)
  for name, value in expected.items():
    shape = (1,) if name == 'count' else (3, 1, 1)
    assert found[name].shape == shape
    np.testing.assert_allclose(found[name].ravel(), value, atol=1e-12)
