"""How much of the package one must read behind the update and the learner."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]


def find(module: str) -> pathlib.Path | None:
  """Returns the file of a module of the package."""
  path = _ROOT.joinpath(*module.split('.'))
  for candidate in (path.with_suffix('.py'), path / '__init__.py'):
    if candidate.exists():
      return candidate
  return None


def imported(path: pathlib.Path) -> set[pathlib.Path]:
  """Returns the files of the package that a file imports from.

  A package's `__init__` counts where a name comes from it.
  """
  found = set()
  for node in ast.walk(ast.parse(path.read_text('utf-8'))):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        inner = f'{node.module}.{alias.name}'
        names.append(inner if find(inner) else node.module)
    for name in names:
      if name.split('.')[0] == 'rlt_jax' and find(name):
        found.add(find(name))
  return found


def closure(*starts: str) -> set[pathlib.Path]:
  """Returns the files with all that they import, directly or not."""
  found, todo = set(), [_ROOT / start for start in starts]
  while todo:
    path = todo.pop()
    if path not in found:
      found.add(path)
      todo += imported(path)
  return found


@pytest.mark.parametrize(
  'starts, most',
  [
    # The fused update.
    (['rlt_jax/agents/rlt/fused_update.py'], 1000),
    # One learner step: rows, ring, update.
    (
      ['rlt_jax/training/learner.py', 'rlt_jax/agents/rlt/fused_update.py'],
      1600,
    ),
  ],
)
def test_reading_cost(starts, most):
  lines = {
    str(path.relative_to(_ROOT)): len(path.read_text('utf-8').splitlines())
    for path in closure(*starts)
  }
  assert sum(lines.values()) <= most, lines


def test_closure_follows_imports():
  files = {x.name for x in closure('rlt_jax/agents/rlt/fused_update.py')}
  assert {'fused_update.py', 'networks.py', 'split_dense.py', 'types.py'} <= (
    files
  )
