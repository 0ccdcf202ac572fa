"""Damaged checkpoints, interrupted and failing saves."""

import errno
import os
import pathlib
import re
import resource
import shutil

import numpy as np
import pytest

from rlt_jax.export import checkpoint
from rlt_jax.export import checkpoint_folders as folders

_META = {'format_version': checkpoint.FORMAT_VERSION, 'config': {'seed': 1}}
_ROWS = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)


def _state(value):
  return {'policy': {'w': _ROWS + value}, 'count': value}


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """A run with the checkpoints 1 and 2."""
  workdir = tmp_path_factory.mktemp('two')
  for steps in (1, 2):
    checkpoint.save(workdir, steps, _state(steps), _META)
  return workdir


@pytest.fixture
def run(tmp_path, two):
  return pathlib.Path(shutil.copytree(two, tmp_path / 'run'))


def _listing(folder):
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in [folder, *folder.rglob('*')]
  }


def _cut(path):
  path.write_bytes(path.read_bytes()[:100])


def _replace_by_file(path):
  shutil.rmtree(path)
  path.write_text('')


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _flip_data(path):
  _flip(max(path.rglob('d/*'), key=lambda x: x.stat().st_size))


_DAMAGE = {
  'meta cut': (lambda path: _cut(path / 'meta.json'), 'must hold JSON'),
  'meta binary': (
    lambda path: (path / 'meta.json').write_bytes(b'\xff\x00'),
    'meta.json must hold JSON',
  ),
  'meta a list': (
    lambda path: (path / 'meta.json').write_text('[]'),
    'must hold a JSON object: it holds a list',
  ),
  'meta removed': (
    lambda path: (path / 'meta.json').unlink(),
    'meta.json is missing',
  ),
  'state removed': (
    lambda path: shutil.rmtree(path / 'state'),
    'state is missing',
  ),
  'state empty': (
    lambda path: (shutil.rmtree(path / 'state'), (path / 'state').mkdir()),
    'state cannot be read',
  ),
  'empty': (lambda path: (shutil.rmtree(path), path.mkdir()), 'is missing'),
  'a file': (_replace_by_file, 'it is no folder'),
  'data flipped': (_flip_data, 'policy/w has other numbers|cannot be read'),
  'manifest flipped': (
    lambda path: _flip(path / 'state' / 'manifest.ocdbt'),
    'state cannot be read',
  ),
}


@pytest.mark.parametrize('name', _DAMAGE)
def test_a_damaged_one_is_named_and_the_one_before_it_is_taken(
  run, capfd, name
):
  damage, reason = _DAMAGE[name]
  damage(run / 'checkpoints' / '2')
  before = _listing(run)
  found = checkpoint.restore(run, _state(0))
  assert found.env_steps == found.state['count'] == 1
  np.testing.assert_array_equal(found.state['policy']['w'], _ROWS + 1)
  error = capfd.readouterr().err
  root = run / 'checkpoints'
  assert error.startswith(f'The checkpoint {root / "2"} is damaged: ')
  assert error.endswith(
    f'The one before it is whole and is taken: {root / "1"}.\n'
  )
  assert error.count('\n') == 1 and re.search(reason, error)
  assert _listing(run) == before  # reading writes nothing


def test_no_whole_one_is_one_sentence(run):
  for steps in '12':
    _cut(run / 'checkpoints' / steps / 'meta.json')
  with pytest.raises(
    checkpoint.DamagedError, match='no whole one before it .*begun again'
  ):
    checkpoint.restore(run, _state(0))
  with pytest.raises(checkpoint.DamagedError, match='/2 is damaged: .*JSON'):
    checkpoint.restore(run, _state(0), env_steps=2)


def test_a_run_goes_on_below_the_number_of_a_damaged_one(run, capfd):
  _flip_data(run / 'checkpoints' / '2')
  assert checkpoint.restore(run, _state(0), set_aside=True).env_steps == 1
  root = run / 'checkpoints'
  assert f'is now {root / "damaged-2"}.' in capfd.readouterr().err
  assert checkpoint.latest(run) == 1
  checkpoint.save(run, 2, _state(7), _META)
  assert checkpoint.restore(run, _state(0)).state['count'] == 7
  assert sorted(x.name for x in root.iterdir()) == ['1', '2', 'damaged-2']


def test_no_flipped_bit_gives_other_numbers(run):
  rng = np.random.default_rng(1)
  files = [x for x in (run / 'checkpoints' / '2').rglob('*') if x.is_file()]
  files = [x for x in files if x.stat().st_size]
  for path in [files[i] for i in rng.integers(len(files), size=25)]:
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(flipped)
    try:
      found = checkpoint.restore(run, _state(0))
    except ValueError:
      pass  # an entry of meta.json that is not known, in a sentence
    else:
      expected = _state(found.env_steps)
      assert found.state['count'] == expected['count']
      np.testing.assert_array_equal(
        found.state['policy']['w'], expected['policy']['w']
      )
    path.write_bytes(content)


def test_a_checkpoint_without_digests_is_read(run):
  path = run / 'checkpoints' / '2' / 'meta.json'
  checkpoint.files.write_atomically(path, '{"format_version": 1}')
  assert checkpoint.restore(run, _state(0)).env_steps == 2
  with pytest.raises(ValueError, match='lacks more'):
    checkpoint.restore(run, _state(0) | {'more': 1})


def test_a_part_is_read_alone(run):
  like = {'w': np.zeros_like(_ROWS)}
  found = checkpoint.restore(run, like, part='policy')
  np.testing.assert_array_equal(found.state['w'], _ROWS + 2)
  assert found.meta == _META
  with pytest.raises(ValueError, match='has the unknown policy/w'):
    checkpoint.restore(run, {}, part='policy')
  _flip_data(run / 'checkpoints' / '2')
  assert checkpoint.restore(run, like, part='policy').env_steps == 1


class Killed(BaseException):
  """The process is dead: nothing of it runs any more."""


class Power:
  """Lets a number of operations on the disk happen, then none."""

  def __init__(self, monkeypatch, left):
    self.left = left
    for owner, name in (
      (os, 'replace'),
      (shutil, 'rmtree'),
      (os, 'fsync'),
      (pathlib.Path, 'mkdir'),
    ):
      monkeypatch.setattr(owner, name, self._limited(getattr(owner, name)))

  def _limited(self, function):
    def call(*args, **kwargs):
      self.left -= 1
      if self.left < 0:
        raise Killed
      return function(*args, **kwargs)

    return call


def _publish(root, text, steps):
  partial = folders.make_partial(root)
  (partial / 'meta.json').write_text(text)
  folders.publish(partial, steps)
  for old in list(folders.complete(root).values())[:-1]:
    folders.remove(old)


def _newest(root):
  steps, path = list(folders.complete(root).items())[-1]
  return steps, (path / 'meta.json').read_text()


@pytest.mark.parametrize('steps', [5, 6])  # the same number again, the next
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(tmp_path, steps):
  seen = set()
  for left in range(100):
    root = tmp_path / str(left) / 'checkpoints'
    _publish(root, 'old', 5)
    with pytest.MonkeyPatch.context() as patch:
      power = Power(patch, left)
      try:
        _publish(root, 'new', steps)
      except Killed:
        pass
    seen.add(_newest(root))
    assert _newest(root) in ((5, 'old'), (steps, 'new'))
    # Whatever was left over, the next one takes its place.
    _publish(root, 'next', 7)
    assert [x.name for x in root.iterdir()] == ['7']
    assert _newest(root) == (7, 'next')
    if power.left >= 0:
      break
  assert power.left >= 0 and left > 5
  assert seen == {(5, 'old'), (steps, 'new')}


def test_it_is_on_the_disk_before_it_has_its_number(tmp_path, monkeypatch):
  log = []
  sync, replace = os.fsync, os.replace

  def logged_sync(fd):
    log.append(os.readlink(f'/proc/self/fd/{fd}'))
    sync(fd)

  def logged_replace(old, new):
    if pathlib.Path(new).name == '3':
      log.append('renamed')
    replace(old, new)

  monkeypatch.setattr(os, 'fsync', logged_sync)
  monkeypatch.setattr(os, 'replace', logged_replace)
  folder = checkpoint.save(tmp_path, 3, _state(0), _META)
  before, after = log[: log.index('renamed')], log[log.index('renamed') :]
  synced = {path.partition('.partial-')[2].partition('/')[2] for path in before}
  names = {str(x.relative_to(folder)) for x in folder.rglob('*')}
  assert names <= synced
  assert str(folder.parent) in after


def test_an_old_one_that_cannot_be_deleted_does_not_end_the_run(
  run, monkeypatch, capfd
):
  def busy(path, *_, **__):
    raise OSError(errno.ENOTEMPTY, 'Directory not empty', str(path))

  with monkeypatch.context() as patch:
    patch.setattr(shutil, 'rmtree', busy)
    checkpoint.save(run, 3, _state(3), _META)
  assert 'could not be deleted, the run goes on: ' in capfd.readouterr().err
  assert list(folders.complete(run / 'checkpoints')) == [2, 3]
  checkpoint.save(run, 4, _state(4), _META)  # which tries again
  assert len(list((run / 'checkpoints').iterdir())) == 2


def test_a_full_disk_is_one_sentence(run, capfd):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
  try:
    with pytest.raises(checkpoint.SaveError) as error:
      checkpoint.save(run, 3, _state(3), _META)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  root = run / 'checkpoints'
  assert str(error.value) == (
    f'The checkpoint {root / "3"} could not be written: File too large. '
    f'The one before it is complete: {root / "2"}.'
  )
  assert error.value.errno == errno.EFBIG
  assert capfd.readouterr() == ('', '')
  assert sorted(x.name for x in root.iterdir()) == ['1', '2']
