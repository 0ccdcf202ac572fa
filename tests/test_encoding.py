"""Files are UTF-8 and terminals may be anything, whatever the locale says."""

import ast
from collections.abc import Iterator
import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_FILES = sorted(
  path.relative_to(_ROOT)
  for folder in ('rlt_jax', 'experiments', 'benchmarks')
  for path in (_ROOT / folder).rglob('*.py')
)
# Number of positional arguments of a call that includes the encoding.
_FULL = {'read_text': 1, 'write_text': 2}


def without_encoding(source: str) -> Iterator[int]:
  """Yields the lines that read or write text in the locale's encoding."""
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Call):
      continue
    if any(x.arg == 'encoding' for x in node.keywords):
      continue
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in _FULL:
      if len(node.args) < _FULL[function.attr]:
        yield node.lineno
    elif isinstance(function, ast.Name) and function.id == 'open':
      mode = node.args[1] if len(node.args) > 1 else ast.Constant('r')
      if isinstance(mode, ast.Constant) and 'b' not in mode.value:
        yield node.lineno
    elif isinstance(function, ast.Attribute) and function.attr == 'open':
      # A pathlib.Path; other objects open without a mode.
      mode = node.args[0] if len(node.args) == 1 else None
      if isinstance(mode, ast.Constant) and mode.value in ('r', 'w', 'a', 'x'):
        yield node.lineno


@pytest.mark.parametrize('path', _FILES, ids=str)
def test_text_files_have_an_encoding(path):
  assert not list(without_encoding((_ROOT / path).read_text('utf-8')))


@pytest.mark.parametrize(
  'source, found',
  [
    ('path.read_text()', 1),
    ('path.write_text(text)', 1),
    ('open(path)', 1),
    ("path.open('a')", 1),
    ("path.read_text('utf-8')", 0),
    ("path.write_text(text, encoding='utf-8')", 0),
    ("open(path, 'rb')", 0),
    ('device.open()', 0),
  ],
)
def test_the_rule_catches(source, found):
  assert len(list(without_encoding(source))) == found


@pytest.mark.parametrize('encoding', ['latin-1', 'ascii', 'utf-8'])
def test_a_terminal_of_any_encoding_gets_every_line(encoding):
  code = (
    'from rlt_jax import console; console.outlive(); '
    "print('success – of last 0, π0, 5 µm')"
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    env=os.environ | {'PYTHONIOENCODING': encoding, 'PYTHONPATH': str(_ROOT)},
    capture_output=True,
    check=True,
  )
  line = done.stdout.decode(encoding)
  expected = 'success – of last 0, π0, 5 µm\n'
  assert line == expected.encode(encoding, 'replace').decode(encoding)
