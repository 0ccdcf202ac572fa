"""The robot host's code keeps to what Python 3.10 has.

Its tests pass on 3.10.13 with NumPy 1.26.4. These run on newer Pythons, and
search for newer syntax and names. Where a python3.10 is on the path, it
compiles the files, and with the host's packages it imports them.
"""

import ast
import os
import pathlib
import subprocess

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


_HOST = ('numpy', 'safetensors', 'msgpack', 'websockets', 'absl')
_IMPORT = """
import importlib, sys
names = sys.argv[1:]
for name in names:
  importlib.import_module(name)
print(len(names), 'jax' in sys.modules, 'mujoco' in sys.modules)
"""


def _python_310(*arguments, **variables):
  return subprocess.run(
    ['python3.10', *arguments],
    cwd=_ROOT,
    env=os.environ | variables,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture
def has_310():
  try:
    found = _python_310('-c', 'import sys; print(sys.version_info[:2])')
  except OSError:
    found = None
  if found is None or found.stdout != '(3, 10)\n':
    pytest.skip('no python3.10 on the path')


def test_python_310_compiles_the_robot_host(tmp_path, has_310):
  paths = [str(x) for x in _FILES]
  cache = {'PYTHONPYCACHEPREFIX': str(tmp_path)}
  done = _python_310('-m', 'compileall', '-q', '-f', *paths, **cache)
  assert done.returncode == 0, done.stdout
  assert len(list(tmp_path.rglob('*.pyc'))) == len(_FILES)


def test_python_310_imports_the_robot_host_without_jax(has_310):
  packages = f'import {", ".join(_HOST)}'
  if _python_310('-c', packages).returncode:
    pytest.skip('python3.10 lacks packages of the robot host')
  modules = [
    '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    for path in _FILES
    # The report needs more packages, and each experiment defines flags.
    if not {'__init__.py', 'reporting', 'experiments'} & set(path.parts)
  ]
  done = _python_310('-c', _IMPORT, *modules, PYTHONPATH=str(_ROOT))
  assert done.stdout == f'{len(modules)} False False\n', done.stderr[-2000:]
