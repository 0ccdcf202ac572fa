"""Atomic writing."""

import os

import pytest

from rlt_jax import files


@pytest.mark.parametrize('content', ['5 µm\n', b'\x00\xff'])
def test_a_file_is_replaced_and_nothing_is_left_over(tmp_path, content):
  path = tmp_path / 'a.json'
  path.write_text('old')
  files.write_atomically(path, content)
  expected = content if isinstance(content, bytes) else content.encode('utf-8')
  assert path.read_bytes() == expected
  assert list(tmp_path.iterdir()) == [path]


def test_a_crash_before_the_rename_keeps_the_old_content(tmp_path, monkeypatch):
  path = tmp_path / 'a.json'
  path.write_text('old')

  def fail(*_):
    raise OSError('no power')

  monkeypatch.setattr(os, 'replace', fail)
  with pytest.raises(OSError, match='no power'):
    files.write_atomically(path, 'new')
  assert path.read_text() == 'old'


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
  log, sync, replace = [], os.fsync, os.replace
  monkeypatch.setattr(os, 'fsync', lambda fd: (log.append('sync'), sync(fd)))
  monkeypatch.setattr(
    os, 'replace', lambda *paths: (log.append('replace'), replace(*paths))
  )
  files.write_atomically(tmp_path / 'a', b'new')
  assert log == ['sync', 'replace', 'sync']
