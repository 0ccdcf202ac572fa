"""Which package may import which, and what no file may contain."""

import ast
from collections.abc import Iterator
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_PACKAGE = 'rlt_jax'
_MAX_LINES = 400
# Top-level module or package of rlt_jax -> those it may import.
_MAY_IMPORT = {
  'types': set(),
  'renamed': set(),
  'config': {'renamed'},
  'config_help': {'config'},
  'files': set(),
  'float16': set(),
  'signals': set(),
  'lock': set(),
  'console': set(),
  'sitting': {'files'},
  'demo_files': {'files', 'lock'},
  'sharding': {'types'},
  'rl_token': {
    'types',
    'batching',
    'demo_files',
    'files',
    'float16',
    'sharding',
    'signals',
    'sitting',
    'vlas',
  },
  'plugins': set(),
  'batching': {'types'},
  'replay': {'types', 'batching'},
  'agents': {'types', 'plugins', 'replay'},
  'sim': {'types'},
  'tasks': {'types', 'plugins', 'sim'},
  'demonstrations': {
    'types',
    'config',
    'datasets',
    'demo_files',
    'files',
    'lock',
    'plugins',
    'signals',
    'sim',
    'sitting',
    'tasks',
  },
  'envs': {'types', 'batching', 'sim', 'tasks'},
  'datasets': {
    'types',
    'config',
    'demo_files',
    'files',
    'lock',
    'robot',
    'sitting',
    'vlas',
  },
  'vlas': {
    'types',
    'demo_files',
    'files',
    'float16',
    'plugins',
    'signals',
    'sitting',
  },
  'serving': {'types', 'rl_token', 'signals', 'sim', 'vlas'},
  'lerobot': {
    'types',
    'config',
    'datasets',
    'files',
    'plugins',
    'rl_token',
    'serving',
  },
  'robot': {
    'types',
    'config',
    'files',
    'lock',
    'plugins',
    'serving',
    'signals',
  },
  'sim_robot': {
    'types',
    'config',
    'robot',
    'serving',
    'tasks',
    'training',
  },
  'resnet10': {
    'types',
    'files',
    'float16',
    'serving',
    'signals',
    'sim',
    'sitting',
    'vlas',
  },
  'export': {'types', 'agents', 'files', 'robot'},
  'reporting': {'types', 'files', 'robot'},
  'rollout': {
    'types',
    'serving',
    'batching',
    'rl_token',
    'sim',
    'tasks',
    'agents',
    'vlas',
  },
  'evaluation': {
    'config',
    'demonstrations',
    'files',
    'types',
    'batching',
    'vlas',
    'agents',
    'reporting',
    'rl_token',
    'rollout',
    'signals',
    'sim',
    'tasks',
  },
  'finetuning': {
    'batching',
    'config',
    'demo_files',
    'demonstrations',
    'evaluation',
    'export',
    'files',
    'reporting',
    'rl_token',
    'rollout',
    'serving',
    'signals',
    'sim',
    'sitting',
    'tasks',
    'training',
    'types',
    'vlas',
  },
  'comparison': {
    'config',
    'evaluation',
    'export',
    'files',
    'finetuning',
    'lock',
    'reporting',
    'signals',
    'training',
    'types',
  },
  'training': {
    'types',
    'batching',
    'config',
    'files',
    'lock',
    'signals',
    'sitting',
    'sharding',
    'agents',
    'replay',
    'rollout',
    'sim',
    'tasks',
    'vlas',
    'rl_token',
    'resnet10',
    'export',
    'robot',
    'serving',
    'reporting',
    'evaluation',
  },
}
# The robot's computer drives arms and writes their report; what it needs of JAX
# arrives as a policy.
_BANNED = dict.fromkeys(
  ('robot', 'reporting', 'datasets', 'lerobot'),
  {'jax', 'mujoco', 'flax', 'optax', 'chex'},
)
# Flags belong to launch files; pickle runs whatever a file says.
_BANNED_EVERYWHERE = {'absl', 'pickle', 'cloudpickle', 'dill', 'joblib'}
_BANNED_NAMES = {'utils.py', 'util.py', 'common.py', 'helpers.py', 'misc.py'}


def imports(tree: ast.AST) -> Iterator[str]:
  """Yields every dotted name a file imports, wherever the import stands."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = '.' * node.level + (node.module or '')
      yield from (f'{base}.{alias.name}' for alias in node.names)


def layering_faults(layer: str, source: str) -> list[str]:
  """Returns what a file of `layer` imports against the rules."""
  faults = []
  for name in imports(ast.parse(source)):
    top, *rest = name.split('.')
    if top == '':
      faults.append(f'{name}: imports are absolute')
    elif top == _PACKAGE:
      target = rest[0] if rest else ''
      allowed = _MAY_IMPORT.get(layer, set()) | {layer}
      if target not in allowed:
        faults.append(f'{name}: {layer} may import {sorted(allowed)}')
    elif top in _BANNED_EVERYWHERE | _BANNED.get(layer, set()):
      faults.append(f'{name}: not in {layer}')
  return faults


def pickle_faults(source: str) -> list[str]:
  """Returns the lines that import pickle or let numpy use it."""
  tree = ast.parse(source)
  faults = [
    f'{name}: pickle'
    for name in imports(tree)
    if name.split('.')[0] in _BANNED_EVERYWHERE - {'absl'}
  ]
  for node in ast.walk(tree):
    if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
      value = node.value
      if not (isinstance(value, ast.Constant) and value.value is False):
        faults.append(f'line {node.lineno}: allow_pickle')
  return faults


def files(*folders: str) -> list[pathlib.Path]:
  found = [path for f in folders for path in (_ROOT / f).rglob('*.py')]
  return sorted(path.relative_to(_ROOT) for path in found)


def layer_of(path: pathlib.Path) -> str:
  """Returns 'agent' for rlt_jax/agent/x.py and 'types' for rlt_jax/types.py."""
  return path.parts[1].removesuffix('.py')


@pytest.mark.parametrize('path', files(_PACKAGE), ids=str)
def test_package_imports_only_what_its_layer_may(path):
  layer = layer_of(path)
  assert layer == '__init__' or layer in _MAY_IMPORT, f'{path}: unknown layer'
  faults = layering_faults(layer, (_ROOT / path).read_text('utf-8'))
  assert not faults, f'{path}: {faults}'


@pytest.mark.parametrize(
  'path', files(_PACKAGE, 'experiments', 'benchmarks', 'tests'), ids=str
)
def test_file_is_small_well_named_and_free_of_pickle(path):
  source = (_ROOT / path).read_text('utf-8')
  lines = source.count('\n')
  assert lines <= _MAX_LINES, f'{path}: {lines} lines, at most {_MAX_LINES}'
  assert path.name not in _BANNED_NAMES, f'{path}: says nothing of its content'
  assert not pickle_faults(source), f'{path}: {pickle_faults(source)}'


@pytest.mark.parametrize('path', files('experiments'), ids=str)
def test_launch_files_import_each_other_relatively(path):
  # An installed package has them as `rlt_jax.experiments`.
  names = imports(ast.parse((_ROOT / path).read_text('utf-8')))
  assert not [name for name in names if name.split('.')[0] == 'experiments']


def test_nothing_in_the_package_is_overlooked():
  assert {layer_of(path) for path in files(_PACKAGE)} >= {'types', 'training'}


@pytest.mark.parametrize(
  'layer, source',
  [
    ('agents', 'import rlt_jax.tasks.ethernet.scene'),
    ('agents', 'from rlt_jax.training import loop'),
    ('agents', 'from rlt_jax import training'),
    ('replay', 'def f():\n  from rlt_jax.agents.rlt import networks'),
    ('types', 'from rlt_jax.agents.rlt import networks'),
    ('sim', 'from rlt_jax.tasks.ethernet import scene'),
    ('agents', 'from . import losses'),
    ('rollout', 'from absl import flags'),
    ('robot', 'import jax.numpy as jnp'),
    ('reporting', 'def f():\n  import jax'),
    ('robot', 'from rlt_jax.agents import rlt'),
    ('robot', 'from mujoco import mjx'),
    ('elsewhere', 'from rlt_jax import types'),
  ],
)
def test_rule_catches(layer, source):
  assert len(layering_faults(layer, source)) == 1


@pytest.mark.parametrize(
  'layer, source',
  [
    ('agents', 'from rlt_jax import types\nfrom rlt_jax.agents import rlt'),
    ('agents', 'from rlt_jax.replay import ring\nimport jax'),
    ('robot', 'import numpy as np\nfrom rlt_jax.robot.policy import bundle'),
    ('export', 'from rlt_jax.robot.policy import bundle'),
  ],
)
def test_rule_lets_pass(layer, source):
  assert not layering_faults(layer, source)


@pytest.mark.parametrize(
  'source',
  [
    'import pickle',
    'from pickle import load',
    'np.load(path, allow_pickle=True)',
    'np.load(path, allow_pickle=flag)',
  ],
)
def test_pickle_rule_catches(source):
  assert len(pickle_faults(source)) == 1
  assert not pickle_faults('np.load(path, allow_pickle=False)')
