import os
import pathlib

import jax
import pytest

from rlt_jax.training import compilation_cache


@pytest.fixture
def updates(monkeypatch):
  """What is asked of JAX; no cache folder is named by the environment."""
  found = {}
  monkeypatch.setattr(jax.config, 'update', found.__setitem__)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  return found


def test_programs_are_kept_in_the_users_cache(updates, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  compilation_cache.keep_compiled()
  folder = tmp_path / 'rlt_jax' / 'compiled'
  assert updates == {'jax_compilation_cache_dir': str(folder)}
  assert folder.is_dir()


def test_the_users_own_folder_wins(updates, monkeypatch, tmp_path):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path))
  compilation_cache.keep_compiled()
  assert not updates


def test_a_cache_that_cannot_be_written_is_one_line(
  updates, monkeypatch, tmp_path, capsys
):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  compilation_cache.keep_compiled()
  assert not updates
  assert capsys.readouterr().err.count('\n') == 1


def test_no_home_is_one_line(updates, monkeypatch, capsys):
  def no_home():
    raise RuntimeError('Could not determine home directory.')

  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  monkeypatch.setattr(pathlib.Path, 'home', no_home)
  compilation_cache.keep_compiled()
  assert not updates
  text = capsys.readouterr().err
  assert 'JAX_COMPILATION_CACHE_DIR' in text and text.count('\n') == 1


def test_a_folder_without_permission_is_one_line(
  updates, monkeypatch, tmp_path, capsys
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(os, 'access', lambda *_: False)
  compilation_cache.keep_compiled()
  assert not updates
  assert 'no permission to write' in capsys.readouterr().err
