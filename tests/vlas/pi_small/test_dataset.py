import dataclasses

import numpy as np
import pytest

from rlt_jax.vlas.pi_small import dataset


def _write(file, demos, rows, **changes):
  frames = dataset.take(demos.frames, rows)
  arrays = frames._asdict()
  images = arrays.pop('images')
  arrays |= {f'images/{camera}': x for camera, x in images.items()}
  arrays |= {
    'action_scale': np.array(demos.action_scale),
    'action_mode': np.array(demos.action_mode),
    'joint_names': np.array(demos.joint_names),
    'control_hz': np.array(demos.control_hz),
  }
  np.savez(file, **(arrays | changes))


def test_shards_join_in_order(tmp_path, config, demos):
  _write(tmp_path / 'b.npz', demos, np.arange(100, 240))
  _write(tmp_path / 'a.npz', demos, np.arange(100))
  loaded = dataset.load(tmp_path, config.cameras)
  dataset.check(loaded, config)
  assert loaded.action_mode == 'joint_delta'
  assert loaded.action_scale == (0.1, 0.2)
  assert loaded.action_facts() == demos.action_facts()
  for name, x in demos.frames._asdict().items():
    np.testing.assert_equal(getattr(loaded.frames, name), x)
  one = dataset.load(tmp_path / 'a.npz', ['side'])
  assert len(one) == 100 and list(one.frames.images) == ['side']


def test_folders_that_count_alike_hold_different_episodes(
  tmp_path, config, demos
):
  for name in 'ab':
    (tmp_path / name).mkdir()
    _write(tmp_path / name / '0.npz', demos, np.arange(100))
  episode = dataset.load(tmp_path, config.cameras).frames.episode
  assert not set(episode[:100]) & set(episode[100:])
  one = demos.frames.episode[:100]
  for half in (episode[:100], episode[100:]):
    np.testing.assert_array_equal(half - half[0], one - one[0])


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'action_scale': np.array([0.1, 0.3])}, 'share one action space'),
    ({'joint_names': np.array(['slide', 'turn'])}, 'share one action space'),
    ({'control_hz': np.array(20.0)}, 'share one action space'),
    ({'chunk': np.zeros((5, 4, 2), np.float32)}, '5|10 rows of chunk'),
    ({'chunk': np.zeros((10, 4, 2))}, 'chunk must be float32'),
  ],
)
def test_load_refuses_files_that_disagree(
  tmp_path, config, demos, changes, rule
):
  _write(tmp_path / 'a.npz', demos, np.arange(10))
  _write(tmp_path / 'b.npz', demos, np.arange(10), **changes)
  with pytest.raises(ValueError, match=rule):
    dataset.load(tmp_path, config.cameras)


def test_load_refuses_missing_files_and_cameras(tmp_path, demos):
  with pytest.raises(ValueError, match='must hold .npz files'):
    dataset.load(tmp_path, ['top'])
  _write(tmp_path / 'a.npz', demos, np.arange(10))
  with pytest.raises(ValueError, match='images/wrist'):
    dataset.load(tmp_path, ['wrist'])


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


def test_split_keeps_episodes_whole():
  episode = np.repeat(np.arange(40), 3)
  rows, held_out = dataset.split_episodes(episode, 0.1, seed=0)
  assert len(held_out) == 12 and len(rows) == 108
  assert not set(episode[rows]) & set(episode[held_out])
  with pytest.raises(ValueError, match='two episodes'):
    dataset.split_episodes(np.zeros(5), 0.1, seed=0)


def test_measure_whitens_and_floors_the_idle_entry(config, demos):
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
