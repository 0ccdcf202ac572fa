import dataclasses

import numpy as np
import pytest

from rlt_jax.vlas.pi_small import dataset


@pytest.mark.parametrize(
  'name, value, rule',
  [
    ('proprio', np.zeros((240, 5), np.float32), 'proprio must be float32'),
    ('chunk', np.full((240, 4, 2), np.nan, np.float32), 'must be finite'),
    ('prompt', np.full((240, 3), 16, np.int32), 'prompt ids'),
    ('episode', np.zeros(240, np.int64), 'episode must be int32'),
  ],
)
def test_check_refuses(config, demos, name, value, rule):
  frames = demos.frames._replace(**{name: value})
  with pytest.raises(ValueError, match=rule):
    dataset.check(dataclasses.replace(demos, frames=frames), config)


def test_measure_whitens_and_floors_the_resting_entry(config, demos):
  rng = np.random.default_rng(0)
  tremor = 1e-6 * rng.normal(size=(240, 4)).astype(np.float32)
  chunk = demos.frames.chunk.copy()
  chunk[..., 1] = tremor
  frames = demos.frames._replace(chunk=chunk)
  norm = dataset.measure(frames, config)
  assert norm.chunk_mean.shape == norm.chunk_std.shape == (4, 2)
  assert all(x.dtype == np.float32 for x in norm)
  busy = chunk[..., 0].std(0)
  np.testing.assert_allclose(norm.chunk_std[:, 0], busy, rtol=1e-4)
  # The root mean square of (busy, 0) is busy / sqrt(2); 30 % of it is left.
  np.testing.assert_allclose(
    norm.chunk_std[:, 1], 0.3 * busy / np.sqrt(2.0), rtol=1e-3
  )
  still = frames._replace(chunk=np.zeros_like(chunk))
  with pytest.raises(ValueError, match='chunk must differ'):
    dataset.measure(still, config)
