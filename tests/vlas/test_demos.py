import numpy as np
import pytest

from rlt_jax.vlas import demos as demos_lib


def _tokenize(text):
  return np.array([len(text), 0, 0], np.int32)


def _write(file, demos, rows, **changes):
  frames = demos_lib.take(demos.frames, rows)
  arrays = frames._asdict()
  images = arrays.pop('images')
  arrays |= {f'images/{camera}': x for camera, x in images.items()}
  del arrays['prompt']
  arrays |= {
    'instruction': np.where(rows % 2, 'lift it', 'insert'),
    'action_scale': np.array(demos.action_scale),
    'action_mode': np.array(demos.action_mode),
    'joint_names': np.array(demos.joint_names),
    'control_hz': np.array(demos.control_hz),
  }
  np.savez(file, **(arrays | changes))


def test_shards_join_in_order(tmp_path, config, demos):
  _write(tmp_path / 'b.npz', demos, np.arange(100, 240))
  _write(tmp_path / 'a.npz', demos, np.arange(100))
  loaded = demos_lib.load(tmp_path, config.cameras, _tokenize)
  assert loaded.action_mode == 'joint_delta'
  assert loaded.action_scale == (0.1, 0.2)
  assert loaded.action_facts() == demos.action_facts()
  lengths = np.where(np.arange(240) % 2, len('lift it'), len('insert'))
  np.testing.assert_array_equal(loaded.frames.prompt[:, 0], lengths)
  stored = demos.frames._replace(prompt=loaded.frames.prompt)
  for name, x in stored._asdict().items():
    np.testing.assert_equal(getattr(loaded.frames, name), x)
  one = demos_lib.load(tmp_path / 'a.npz', ['side'], _tokenize)
  assert len(one) == 100 and list(one.frames.images) == ['side']


def test_folders_that_count_alike_hold_different_episodes(
  tmp_path, config, demos
):
  for name in 'ab':
    (tmp_path / name).mkdir()
    _write(tmp_path / name / '0.npz', demos, np.arange(100))
  episode = demos_lib.load(tmp_path, config.cameras, _tokenize).frames.episode
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
    demos_lib.load(tmp_path, config.cameras, _tokenize)


def test_load_refuses_missing_files_and_cameras(tmp_path, demos):
  with pytest.raises(ValueError, match='must hold .npz files'):
    demos_lib.load(tmp_path, ['top'], _tokenize)
  _write(tmp_path / 'a.npz', demos, np.arange(10))
  with pytest.raises(ValueError, match='images/wrist'):
    demos_lib.load(tmp_path, ['wrist'], _tokenize)


def test_split_keeps_episodes_whole():
  episode = np.repeat(np.arange(40), 3)
  rows, held_out = demos_lib.split_episodes(episode, 0.1, seed=0)
  assert len(held_out) == 12 and len(rows) == 108
  assert not set(episode[rows]) & set(episode[held_out])
  with pytest.raises(ValueError, match='two episodes'):
    demos_lib.split_episodes(np.zeros(5), 0.1, seed=0)
