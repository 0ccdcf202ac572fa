"""Atomic writing."""

import ast
import errno
import os
import pathlib
import re
import threading

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


def test_a_full_disk_leaves_the_old_content_and_no_part_of_the_new(tmp_path):
  path = tmp_path / 'a'
  path.write_text('old')
  with pytest.raises(OSError, match='No space left'):
    with files.open_atomically(path) as file:
      file.write(b'half')
      raise OSError(28, 'No space left on device')
  assert path.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [path]


def _fails(times, number):
  """Returns what fails so often, and the list that it then writes to."""
  faults, written = iter(range(times)), []

  def write():
    if next(faults, None) is not None:
      raise OSError(number, os.strerror(number))
    written.append('done')

  return write, written


def test_a_full_disk_is_waited_for_in_words(monkeypatch, capsys):
  monkeypatch.setattr(files, '_RETRY_S', 0.0)
  write, written = _fails(3, errno.ENOSPC)
  files.write_when_possible(write, threading.Event())
  assert written == ['done']
  said = capsys.readouterr().out.splitlines()
  assert said == ['Waiting for the disk: [Errno 28] No space left on device']


@pytest.mark.parametrize(
  'number, stopped', [(errno.ENOSPC, True), (errno.EACCES, False)]
)
def test_a_disk_is_not_waited_for_in_vain(number, stopped):
  write, written = _fails(1, number)
  stop = threading.Event()
  if stopped:
    stop.set()
  with pytest.raises(OSError, match=os.strerror(number)):
    files.write_when_possible(write, stop)
  assert not written


@pytest.mark.parametrize(
  'content, fault',
  [
    (b'{"a": 1', 'must hold JSON: '),
    (b'', 'must hold JSON: '),
    (b'{"a": "\xff"}', 'must hold JSON: '),
    (b'[1]', 'must hold a JSON object: it holds a list'),
  ],
)
def test_json_that_cannot_be_read_is_refused_by_name(tmp_path, content, fault):
  path = tmp_path / 'a.json'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f'{path} {fault}'):
    files.read_json(path)
  path.write_bytes(b'{"a": 1}')
  assert files.read_json(path) == {'a': 1}
  with pytest.raises(ValueError, match=rf"{path} must have a, b: no \['b'\]"):
    files.read_json(path, ('a', 'b'))


@pytest.mark.parametrize('name', ['a.json', 'new/folder/a.json'])
def test_a_file_that_can_be_written_later_leaves_nothing_now(tmp_path, name):
  (tmp_path / 'a.json').write_text('old')
  files.check_writable(tmp_path / name)
  assert [x.name for x in tmp_path.rglob('*.json')] == ['a.json']
  assert (tmp_path / 'a.json').read_text() == 'old'
  assert (tmp_path / name).parent.is_dir()


@pytest.mark.parametrize(
  'name, reason',
  [
    ('', 'Is a directory'),
    ('file/a.json', 'File exists|Not a directory'),
    ('/proc/a.json', 'No such file or directory'),
  ],
)
def test_a_file_that_cannot_be_written_is_refused_early(tmp_path, name, reason):
  (tmp_path / 'file').write_text('')
  path = tmp_path / name
  with pytest.raises(OSError, match=f'{path} cannot be written: ({reason}).'):
    files.check_writable(path)


# What reads JSON that is in no file, or that its caller has read and names.
_WITHOUT_A_FILE = {
  'config.py',  # `from_json` itself
  'robot/control/watchdog.py',  # an argument of a process
  'sim_robot/sim_cameras.py',  # an argument of a process
  'training/config.py',  # for `run_folder.read_config`
  'vlas/openpi/train_folder.py',  # parsed before, with its name
}
_READS = r'(json\.loads?|config_lib\.from_json|from_json)\('
_COPIES = r'json\.loads\((json\.dumps|config_lib\.to_json)\('


def _unguarded_reads(source):
  """Returns the lines that read JSON outside of a try block."""
  tree = ast.parse(source)
  guarded = {
    id(node)
    for block in ast.walk(tree)
    if isinstance(block, ast.Try)
    for part in block.body
    for node in ast.walk(part)
  }
  return [
    node.lineno
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and re.match(_READS, ast.unparse(node))
    and not re.match(_COPIES, ast.unparse(node))
    and id(node) not in guarded
  ]


def test_every_file_that_is_no_json_is_named():
  package = pathlib.Path(files.__file__).parent
  found = {
    str(path.relative_to(package))
    for path in package.rglob('*.py')
    # `files.read_json` names the file, and so may an except clause.
    if _unguarded_reads(path.read_text('utf-8'))
  }
  assert found == _WITHOUT_A_FILE
  assert _unguarded_reads('x = 1\ny = json.loads(p.read_text())') == [2]
  assert _unguarded_reads('text = p.read_text()\ny = json.loads(text)') == [2]
  assert not _unguarded_reads('json.loads(json.dumps(x))')


def test_a_folder_that_can_be_made_later_leaves_nothing_now(tmp_path):
  files.check_creatable(tmp_path / 'a' / 'b')
  assert not list(tmp_path.iterdir())
  (tmp_path / 'file').touch()
  for folder in (tmp_path / 'file' / 'a', pathlib.Path('/proc/a/b')):
    with pytest.raises(ValueError, match=f'one that is writable: {folder}'):
      files.check_creatable(folder)


@pytest.mark.parametrize(
  'error, code',
  [
    (OSError(28, 'full'), 28),
    (ValueError("write failed [os_error_code='27']"), 27),
    (ValueError('another'), None),
    (KeyboardInterrupt(), None),
  ],
)
def test_the_number_of_a_fault_is_found(error, code):
  assert files.error_code(error) == code
