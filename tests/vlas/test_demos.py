import numpy as np
import pytest

from rlt_jax.vlas import demos as demos_lib
from tests.vlas import shards


def _tokenize(text):
  return np.array([len(text), 0, 0], np.int32)


def test_shards_join_in_order(tmp_path, config, demos):
  shards.write(tmp_path / 'b.npz', demos, np.arange(100, 240))
  shards.write(tmp_path / 'a.npz', demos, np.arange(100))
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
    shards.write(tmp_path / name / '0.npz', demos, np.arange(100))
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
  shards.write(tmp_path / 'a.npz', demos, np.arange(10))
  shards.write(tmp_path / 'b.npz', demos, np.arange(10), **changes)
  with pytest.raises(ValueError, match=rule):
    demos_lib.load(tmp_path, config.cameras, _tokenize)


def test_load_refuses_missing_files_and_cameras(tmp_path, demos):
  with pytest.raises(ValueError, match='a folder that holds some'):
    demos_lib.load(tmp_path, ['top'], _tokenize)
  shards.write(tmp_path / 'a.npz', demos, np.arange(10))
  with pytest.raises(ValueError, match='images/wrist'):
    demos_lib.load(tmp_path, ['wrist'], _tokenize)


def nan(demos):
  chunk = demos.frames.chunk[:10].copy()
  chunk[7, 1, 0] = np.nan
  return chunk


@pytest.mark.parametrize(
  'name, value, rule',
  [
    ('chunk', nan, 'chunk must be finite: nan in row 7 of .*b.npz'),
    (
      'proprio',
      lambda demos: np.full((10, 4), np.inf, np.float32),
      'proprio must be finite: inf in row 0 of .*b.npz',
    ),
    ('episode', lambda demos: np.zeros(10), 'episode must be int32'),
    (
      'images/top',
      lambda demos: np.zeros((10, 16, 16), np.uint8),
      r'images/top must be uint8 .*\(16, 16\) in .*b.npz',
    ),
    (
      'instruction',
      lambda demos: np.array(['insert'] * 9),
      'b.npz must hold 9 rows of episode',
    ),
  ],
)
def test_a_damaged_column_is_refused_by_its_file(
  tmp_path, config, demos, name, value, rule
):
  shards.write(tmp_path / 'a.npz', demos, np.arange(10))
  shards.write(tmp_path / 'b.npz', demos, np.arange(10), **{name: value(demos)})
  with pytest.raises(ValueError, match=rule):
    demos_lib.load(tmp_path, config.cameras, _tokenize)


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: b'',
    lambda content: content[: len(content) // 2],
    lambda content: b'\0' * len(content),
    lambda content: b'a text',
    # One byte of an image; the zip file has a checksum.
    lambda content: content[:5000] + b'\xaa\x55' + content[5002:],
  ],
  ids=['empty', 'cut', 'zeros', 'text', 'bytes'],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, config, demos, damage):
  shards.write(tmp_path / 'a.npz', demos, np.arange(10))
  content = (tmp_path / 'a.npz').read_bytes()
  (tmp_path / 'b.npz').write_bytes(damage(content))
  with pytest.raises(ValueError, match='must be a whole .npz file: .*b.npz'):
    demos_lib.load(tmp_path, config.cameras, _tokenize)


def test_an_array_alone_is_no_shard(tmp_path, config):
  np.save(tmp_path / 'a.npy', np.zeros(3))
  (tmp_path / 'a.npy').rename(tmp_path / 'a.npz')
  with pytest.raises(ValueError, match='a.npz .it is a single array'):
    demos_lib.load(tmp_path, config.cameras, _tokenize)


def test_foreign_files_are_named_and_left_out(tmp_path, config, demos):
  shards.write(tmp_path / 'a.npz', demos, np.arange(10))
  (tmp_path / '._a.npz').write_bytes(b'\0\5\x16\7')  # as macOS leaves it
  (tmp_path / 'b.npz.partial').write_bytes(b'half')
  record = '{"outcome": [], "steps": [], "shards": [1], "num_shards": 3}'
  (tmp_path / 'demos.json').write_text(record)
  lines = []
  loaded = demos_lib.load(tmp_path, config.cameras, _tokenize, lines.append)
  assert len(loaded) == 10
  left_out, unfinished, reading = lines
  assert left_out == (
    f'Left out, as no demonstrations: {tmp_path}/._a.npz, '
    f'{tmp_path}/b.npz.partial.'
  )
  assert unfinished.startswith(f'{tmp_path} is unfinished, 1 of 3 shards: ')
  assert reading == 'Reading 10 frames from 1 files.'


def test_split_keeps_episodes_whole():
  episode = np.repeat(np.arange(40), 3)
  rows, held_out = demos_lib.split_episodes(episode, 0.1, seed=0)
  assert len(held_out) == 12 and len(rows) == 108
  assert not set(episode[rows]) & set(episode[held_out])
  with pytest.raises(ValueError, match='two episodes'):
    demos_lib.split_episodes(np.zeros(5), 0.1, seed=0)
