"""How long files and functions may be, and how much a class may hold."""

import ast
from collections.abc import Iterator
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_FILE, _FUNCTION, _EXPERIMENT, _ATTRIBUTES = 400, 60, 80, 15
# What is longer, and why.
_EXCEPTIONS = {
  'experiments/launch.py': 'flags and start that all experiments share',
  'experiments/launch_help.py': 'help and mistakes that all experiments share',
  'experiments/robot_flags.py': 'flags that robot and robot_cell share',
}


def _files(*folders: str) -> list[str]:
  found = [path for f in folders for path in (_ROOT / f).rglob('*.py')]
  return sorted(str(path.relative_to(_ROOT)) for path in found)


def long_functions(source: str) -> Iterator[str]:
  """Yields functions of more than 60 lines, their docstrings left out."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      lines = node.end_lineno - node.lineno + 1
      if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
      if lines > _FUNCTION:
        yield f'{node.name} has {lines} lines, at most {_FUNCTION}'


def large_classes(source: str) -> Iterator[str]:
  """Yields classes that set more than 15 attributes of themselves."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.ClassDef):
      found = {
        x.attr
        for x in ast.walk(node)
        if isinstance(x, ast.Attribute)
        and isinstance(x.ctx, ast.Store)
        and isinstance(x.value, ast.Name)
        and x.value.id == 'self'
      }
      if len(found) > _ATTRIBUTES:
        yield f'{node.name} has {len(found)} attributes, at most {_ATTRIBUTES}'


@pytest.mark.parametrize('path', _files('rlt_jax', 'experiments'))
def test_sizes_stay_within_the_limits(path):
  source = (_ROOT / path).read_text('utf-8')
  faults = [*long_functions(source), *large_classes(source)]
  lines = source.count('\n')
  limit = _EXPERIMENT if path.startswith('experiments') else _FILE
  if lines > limit:
    faults.append(f'{lines} lines, at most {limit}')
  if path in _EXCEPTIONS:
    assert faults, f'{path} needs no exception any more'
  else:
    assert not faults, f'{path}: {faults}'


def test_the_rules_catch():
  body = '  x = 1\n' * 60
  assert list(long_functions(f'def f():\n{body}'))
  assert not list(long_functions('def f():\n  """Text.\n\n  More."""\n  x = 1'))
  many = ''.join(f'    self.a{i} = 0\n' for i in range(16))
  assert list(large_classes(f'class A:\n  def f(self):\n{many}'))
  assert not list(large_classes('class A:\n  def f(self):\n    self.a = 0'))
