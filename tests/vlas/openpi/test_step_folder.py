"""A checkpoint in a training's folder is whole, whatever happens."""

import errno
import os
import resource
import shutil

import numpy as np
import pytest

from rlt_jax.vlas.openpi import checkpoint, step_folder


def save(folder, text, step=4):
  with step_folder.replace(folder, step) as part:
    part.mkdir()
    (part / 'a').write_text(text)


def found(folder):
  return {x.name: (x / 'a').read_text() for x in folder.iterdir()}


def test_a_step_is_replaced_and_nothing_is_left_over(tmp_path):
  for text in ('first', 'second'):
    save(tmp_path, text)
    assert found(tmp_path) == {'4': text}
  save(tmp_path, 'third', step=5)
  assert found(tmp_path) == {'4': 'second', '5': 'third'}


def test_the_content_is_on_the_disk_before_it_has_its_name(
  tmp_path, monkeypatch
):
  synced = []
  sync, rename = step_folder.files.sync_folder, os.rename
  monkeypatch.setattr(
    step_folder.files,
    'sync_folder',
    lambda path: (synced.append(str(path)), sync(path)),
  )

  def check(old, new):
    part = str(tmp_path / '4.part')
    assert {part, part + '/a'} <= set(synced)
    rename(old, new)

  monkeypatch.setattr(os, 'rename', check)
  save(tmp_path, 'first')
  assert synced[-1] == str(tmp_path)


@pytest.mark.parametrize('moment', range(3))
def test_a_kill_at_any_moment_loses_no_complete_one(
  tmp_path, monkeypatch, moment
):
  save(tmp_path, 'first')
  rename, calls = os.rename, []

  def die(old, new):
    calls.append(new)
    if len(calls) == moment + 1:
      # A process that is killed cleans nothing up.
      monkeypatch.setattr(shutil, 'rmtree', lambda *_, **__: None)
      monkeypatch.setattr(step_folder, '_put_back', lambda _: None)
      raise KeyboardInterrupt
    rename(old, new)

  with monkeypatch.context():
    monkeypatch.setattr(os, 'rename', die)
    with pytest.raises(KeyboardInterrupt):
      save(tmp_path, 'second')
  monkeypatch.undo()
  kept = 'second' if moment == 2 else 'first'
  assert kept in found(tmp_path).values()
  with pytest.raises(RuntimeError, match='a fault'):
    with step_folder.replace(tmp_path, 4):
      raise RuntimeError('a fault')
  assert found(tmp_path)['4'] == kept
  save(tmp_path, 'third')
  assert found(tmp_path) == {'4': 'third'}


def test_a_full_disk_is_one_sentence_and_leaves_no_part(tmp_path, capfd):
  save(tmp_path, 'first')
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  params = {'a': np.random.default_rng(0).normal(size=9_000)}
  resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
  try:
    with pytest.raises(OSError) as error:
      with step_folder.replace(tmp_path, 4) as part:
        checkpoint.write(part, params)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert str(error.value) == (
    f'{tmp_path / "4"} could not be written: File too large'
  )
  assert error.value.errno == errno.EFBIG
  assert capfd.readouterr() == ('', '')
  assert found(tmp_path) == {'4': 'first'}


def test_an_old_one_that_cannot_be_deleted_is_said(
  tmp_path, monkeypatch, capsys
):
  def busy(path, ignore_errors=False):
    if not ignore_errors:
      raise OSError(errno.ENOTEMPTY, 'Directory not empty', str(path))

  save(tmp_path, 'first')
  with monkeypatch.context() as patch:
    patch.setattr(shutil, 'rmtree', busy)
    save(tmp_path, 'second')
    assert 'could not be deleted: ' in capsys.readouterr().err
    save(tmp_path, 'third', step=5)
    step_folder.remove(tmp_path / '4')
  assert '4' not in found(tmp_path) and found(tmp_path)['5'] == 'third'
  save(tmp_path, 'third', step=5)  # which tries again
  assert found(tmp_path) == {'5': 'third'}
