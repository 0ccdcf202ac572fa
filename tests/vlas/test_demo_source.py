import numpy as np
import pytest

from rlt_jax.vlas import demo_source
from rlt_jax.vlas import demos as demos_lib
from tests.vlas import shards


def _tokenize(text):
  return np.array([len(text), 0, 0], np.int32)


def _write(folder, demos, **changes):
  """Two folders that count episodes alike; one episode spans two files."""
  for name, rows in (('a/0', range(95)), ('a/1', range(95, 120)), ('b/0', 50)):
    file = folder / f'{name}.npz'
    file.parent.mkdir(exist_ok=True)
    rows = np.arange(rows) if isinstance(rows, int) else np.array(rows)
    texts = np.full(len(rows), 'lift it' if name == 'b/0' else 'insert')
    shards.write(file, demos, rows, instruction=texts, **changes)


def _open(folder, config):
  return demo_source.NpzSource(folder, config.cameras, _tokenize)


def test_files_are_read_by_episode_as_all_at_once(tmp_path, config, demos):
  _write(tmp_path, demos)
  source = _open(tmp_path, config)
  loaded = demos_lib.load(tmp_path, config.cameras, _tokenize)
  assert len(source.episodes) == 12 + 5
  assert source.episodes[9] == (10, 'insert')  # five frames in each file
  assert source.episodes[12] == (10, 'lift it')
  joined = demo_source.load_all(source)
  assert joined.action_facts() == loaded.action_facts()
  assert joined.instructions == loaded.instructions
  for name, x in loaded.frames._asdict().items():
    np.testing.assert_equal(getattr(joined.frames, name), x)
  assert joined.describe() == loaded.describe() == source.describe()
  assert demo_source.DemoSource.describe(source) == source.describe()
  few = source.read_rows(9, np.array([7, 2]))
  np.testing.assert_array_equal(
    few.images['side'], loaded.frames.images['side'][[97, 92]]
  )
  assert source.read(3, images=False).images == {}


def test_a_source_is_told_from_another_by_its_numbers(tmp_path, config, demos):
  _write(tmp_path, demos)
  told = _open(tmp_path, config).describe()
  assert (told['episodes'], told['frames']) == (17, 170)
  assert told == _open(tmp_path, config).describe()
  proprio = demos.frames.proprio[:50].copy()
  proprio[3, 1] += 1e-6
  shards.write(
    tmp_path / 'b' / '0.npz',
    demos,
    np.arange(50),
    proprio=proprio,
    instruction=np.full(50, 'lift it'),
  )
  assert _open(tmp_path, config).describe()['sha256'] != told['sha256']


def test_memory_is_a_source_too(demos):
  source = demo_source.MemorySource(demos)
  assert [x.frames for x in source.episodes] == [10] * 24
  joined = demo_source.load_all(source).frames
  for name, x in demos.frames._asdict().items():
    np.testing.assert_equal(getattr(joined, name), x)
  assert len(source.peek()) == 2
  unknown = demos.frames._replace(remaining_motion=None)
  assert demos_lib.take(unknown, [0, 5]).remaining_motion is None
  assert demo_source.join([unknown, unknown]).remaining_motion is None


def test_the_remaining_motion_may_be_missing_in_all_files(
  tmp_path, config, demos
):
  _write(tmp_path, demos)
  for file in sorted(tmp_path.rglob('*.npz')):
    with np.load(file) as stored:
      arrays = dict(stored)
    del arrays['remaining_motion']
    np.savez(file, **arrays)
    if file == tmp_path / 'a' / '0.npz':  # the first
      with pytest.raises(ValueError, match="0.npz must .* lacks .'remaining_"):
        _open(tmp_path, config)
  assert _open(tmp_path, config).read(0).remaining_motion is None
  loaded = demos_lib.load(tmp_path, config.cameras, _tokenize)
  assert loaded.frames.remaining_motion is None
  assert loaded.describe() == _open(tmp_path, config).describe()


def test_damaged_files_are_refused_when_they_are_read(tmp_path, config, demos):
  _write(tmp_path, demos)
  proprio = demos.frames.proprio[:50].copy()
  proprio[42, 1] = np.nan
  texts = np.full(50, 'lift it')
  file = tmp_path / 'b' / '0.npz'
  shards.write(file, demos, np.arange(50), proprio=proprio, instruction=texts)
  source = _open(tmp_path, config)
  with pytest.raises(ValueError, match=r'finite: nan in row 42 of .*b/0.npz'):
    source.read(16)
  chunk = demos.frames.chunk[:45]
  shards.write(file, demos, np.arange(50), chunk=chunk, instruction=texts)
  with pytest.raises(ValueError, match=r'b/0.npz \(chunk .* no row 49'):
    source.read(16)
  shards.write(file, demos, np.arange(50))  # odd rows lift, even ones insert
  with pytest.raises(ValueError, match=r"one instruction: \['insert', 'lift"):
    _open(tmp_path, config)
