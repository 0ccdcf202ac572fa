"""Files of benchmarks: checked before the work, whole after it."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks import out_file, task_results, timing

_ROOT = pathlib.Path(__file__).parents[2]
_FILES = sorted((_ROOT / 'benchmarks').glob('*.py'))
_WITH_OUT = [path for path in _FILES if '\n_OUT = ' in path.read_text('utf-8')]


def test_a_file_that_cannot_be_written_ends_the_command(tmp_path):
  with pytest.raises(SystemExit, match='error: .* cannot be written: Is a dir'):
    out_file.check(str(tmp_path))
  out_file.check('')
  out_file.check(str(tmp_path / 'new' / 'a.json'))
  task_results.write(str(tmp_path / 'new' / 'a.json'), 'a', {})
  timing.finish([{'x': 1}], {}, str(tmp_path / 'new' / 'b.jsonl'))
  found = sorted(path.name for path in (tmp_path / 'new').iterdir())
  assert found == ['a.json', 'b.jsonl']


@pytest.mark.parametrize('path', _WITH_OUT, ids=lambda path: path.stem)
def test_the_file_is_checked_before_the_work(path):
  tree = ast.parse(path.read_text('utf-8'))
  (main,) = (
    node
    for node in tree.body
    if isinstance(node, ast.FunctionDef) and node.name == 'main'
  )
  first = [ast.unparse(node) for node in main.body[1:3]]
  assert 'out_file.check(_OUT.value)' in first


@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
def test_every_flag_with_a_file_or_folder_is_a_path(path):
  for node in ast.walk(ast.parse(path.read_text('utf-8'))):
    if isinstance(node, ast.Call) and 'DEFINE_string' in ast.unparse(node.func):
      text = ast.unparse(node)
      assert not re.search(r'[Ff]older|[Ff]ile\b|\.json', text), text


def test_the_home_folder_is_known_and_checked(tmp_path):
  (tmp_path / 'taken.json').mkdir()
  done = subprocess.run(
    [sys.executable, '-m', 'benchmarks.cheats', '--out=~/taken.json'],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env={'HOME': str(tmp_path), 'PATH': ''},
    check=False,
  )
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr == (
    f'error: {tmp_path}/taken.json cannot be written: Is a directory.\n'
  )
