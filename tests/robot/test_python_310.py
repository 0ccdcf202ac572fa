"""The robot host's code keeps to what Python 3.10 has.

Its tests pass on 3.10.13 with NumPy 1.26.4. These run on newer Pythons, and
search for newer syntax and names.
"""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_NEWER = {
  *('StrEnum', 'ReprEnum', 'UTC', 'TaskGroup', 'ExceptionGroup', 'tomllib'),
  *('BaseExceptionGroup', 'Self', 'Never', 'assert_never', 'Required'),
  *('NotRequired', 'LiteralString', 'batched', 'add_note'),
  *('file_digest', 'asyncio.timeout', 'contextlib.chdir', 'Path.walk'),
}
_FILES = (
  *sorted((_ROOT / 'rlt_jax/robot').rglob('*.py')),
  *sorted((_ROOT / 'rlt_jax/reporting').rglob('*.py')),
  *(_ROOT / 'rlt_jax' / f'{x}.py' for x in ('config', 'files', 'plugins')),
  *(_ROOT / 'rlt_jax' / f'{x}.py' for x in ('types', 'renamed', 'lock')),
  *(
    _ROOT / 'rlt_jax/serving' / f'{x}.py'
    for x in ('client', 'sync_client', 'codec', 'schema', 'serving_spec')
  ),
  _ROOT / 'rlt_jax/export/check.py',
  *(
    _ROOT / 'experiments' / f'{x}.py'
    for x in ('launch', 'robot', 'robot_flags', 'check_bundle')
  ),
)


def newer_than_310(source: str) -> list[str]:
  """Returns what Python 3.10 cannot run; a SyntaxError is for newer syntax."""
  found = []
  for node in ast.walk(ast.parse(source, feature_version=(3, 10))):
    names = set()
    if isinstance(node, ast.Attribute):
      base = getattr(node.value, 'id', '')
      names = {node.attr, f'{base}.{node.attr}'}
    elif isinstance(node, ast.Name):
      names = {node.id}
    elif isinstance(node, ast.ImportFrom):
      names = {x.name for x in node.names} | {node.module}
    elif isinstance(node, ast.Import):
      names = {x.name for x in node.names}
    elif type(node).__name__ == 'TryStar':
      names = {'ExceptionGroup'}
    found += sorted(names & _NEWER)
  return found


@pytest.mark.parametrize(
  'path', _FILES, ids=lambda x: str(x.relative_to(_ROOT))
)
def test_the_robot_host_needs_no_newer_python(path):
  assert not newer_than_310(path.read_text('utf-8'))


@pytest.mark.parametrize(
  'source',
  [
    'import enum\nclass A(enum.StrEnum): pass',
    'from typing import Self',
    'import asyncio\nx = asyncio.timeout(1)',
    'try:\n  f()\nexcept* ValueError:\n  pass',
    'import tomllib',
    'def f[T](x: T): pass',
  ],
)
def test_the_rule_catches(source):
  try:
    assert newer_than_310(source)
  except SyntaxError:
    pass
