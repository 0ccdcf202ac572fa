"""The documents name only what exists, and the library example runs."""

import ast
from collections.abc import Iterator
import dataclasses
import functools
import importlib.metadata
import pathlib
import re
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from rlt_jax import sharding
from rlt_jax.agents import registry
from rlt_jax.renamed import RENAMED
from rlt_jax.reporting.metrics import METRICS
from rlt_jax.reporting.report import ReportData
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.robot.episode import EpisodeResult
from rlt_jax.robot.station import Station
from rlt_jax.training.config import PracticeConfig

_ROOT = pathlib.Path(__file__).parents[1]
# Shared by several experiments.
_SHARED = (
  'collecting', 'demo_flags', 'launch', 'launch_help', 'out_file', 'resuming',
  'robot_flags',
)  # fmt: skip
_DOCS = _ROOT / 'docs'
_MAX_README_LINES = 150
_PAGES = sorted(
  page.relative_to(_ROOT) for page in (*_ROOT.glob('*.md'), *_DOCS.glob('*.md'))
)
_OLD_NAMES = _DOCS / 'renamed.md'  # lists names that do not exist any more

_COMMIT = re.compile(r'\bcommits? [0-9a-f]{7}\b')
_COMMAND = re.compile(r'\b(experiments|benchmarks)\.(\w+)')
_FLAG = re.compile(r'(?<![\w-])--([\w-]+)')
_SETTING = re.compile(r"(?:^|--set=)([a-z][\w.]*)=(?!')")
_FIELD = re.compile(r'^(?:agent|update|task)\.[\w.]+')
_PATH = re.compile(
  r'(?<![\w/])(?:rlt_jax|experiments|benchmarks|tests|docs)/[\w./]+'
)
_LINK = re.compile(r'\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)')
_ROW = re.compile(r'^\| (.*) \| `([^`]+)` \|$', re.MULTILINE)
_PYTHON = re.compile(r'```python\n(.*?)```', re.DOTALL)


class Code(NamedTuple):
  """A line of a code block, or code within a sentence.

  text: of it. historical: it stands beside a commit, so it is written in the
  names of that commit.
  """

  text: str
  historical: bool


def read(page: pathlib.Path) -> str:
  return (_ROOT / page).read_text('utf-8')


def code_of(text: str) -> Iterator[Code]:
  """Yields the code of a page, but for blocks of Python or YAML."""
  parts = re.split(r'```(\w*)\n(.*?)```', text, flags=re.DOTALL)
  for prose, language, block in zip(
    parts[::3], [*parts[1::3], ''], [*parts[2::3], ''], strict=True
  ):
    for paragraph in prose.split('\n\n'):
      historical = bool(_COMMIT.search(' '.join(paragraph.split())))
      for span in re.findall(r'`([^`]+)`', paragraph):
        yield Code(' '.join(span.split()), historical)
    if not language:
      for line in block.replace('\\\n', ' ').splitlines():
        yield Code(line.split('  #')[0].strip(), historical=False)


@functools.cache
def defined_flags(path: pathlib.Path) -> set[str]:
  """Returns the flags of a launch file, those of the launcher included."""
  tree = ast.parse(path.read_text('utf-8'))
  shared = {}
  for name in _SHARED:
    if (file := path.with_name(f'{name}.py')).exists():
      shared |= functions_of(file)
  return flags_below(tree, shared)


@functools.cache
def functions_of(path: pathlib.Path) -> dict[str, ast.AST]:
  tree = ast.parse(path.read_text('utf-8'))
  return {x.name: x for x in tree.body if isinstance(x, ast.FunctionDef)}


def flags_below(tree: ast.AST, shared: dict[str, ast.AST]) -> set[str]:
  names = set()
  for node in ast.walk(tree):
    if not isinstance(node, ast.Call):
      continue
    function = node.func
    name = getattr(function, 'attr', None) or getattr(function, 'id', '')
    if name.startswith('DEFINE_') or name in ('define_path', 'define_paths'):
      if isinstance(node.args[0], ast.Constant):  # it defines a flag itself
        names.add(node.args[0].value)
    elif name in shared and shared[name] is not tree:
      names |= flags_below(shared[name], shared)
  return names


@functools.cache
def all_flags() -> set[str]:
  files = [
    path
    for folder in ('experiments', 'benchmarks')
    for path in (_ROOT / folder).glob('*.py')
  ]
  return set().union(*(defined_flags(path) for path in files))


def has_setting(path: str) -> bool:
  """Says whether `--set=path=...` names a field of practice or Stage 1.

  Settings of an agent may be those of any shipped one.
  """
  if path in {field.name for field in dataclasses.fields(Stage1Config)}:
    return True
  return any(_has_field(config, path) for config in _practice_configs())


@functools.cache
def _practice_configs() -> list[PracticeConfig]:
  return [
    dataclasses.replace(PracticeConfig(), agent=registry.config_class(name)())
    for name in registry.SHIPPED
  ]


def _has_field(config: Any, path: str) -> bool:
  for name in path.split('.'):
    if not dataclasses.is_dataclass(config):
      return False
    if name not in {field.name for field in dataclasses.fields(config)}:
      return False
    config = getattr(config, name)
  return True


def all_settings(config: Any) -> set[str]:
  names = set()
  for field in dataclasses.fields(config):
    names.add(field.name)
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      names |= all_settings(value)
  return names


def old_names(heading: str) -> dict[str, str]:
  """Returns old name -> new name of a section of renamed.md."""
  section = read(_OLD_NAMES).split(f'\n## {heading}\n')[1].split('\n## ')[0]
  rows = {}
  for left, new in _ROW.findall(section.split('\nValues of')[0]):
    rows[re.findall(r'`([^`]+)`', left)[-1]] = new
  return rows


def test_the_new_names_of_modules_exist():
  modules = old_names('Modules')
  assert modules
  for new in modules.values():
    path = _ROOT / new.replace('.', '/')
    assert path.is_dir() or path.with_suffix('.py').is_file(), new


def test_readme_is_short():
  assert read(pathlib.Path('README.md')).count('\n') <= _MAX_README_LINES


@pytest.mark.parametrize('page', _PAGES, ids=str)
def test_links_lead_somewhere(page):
  for target in _LINK.findall(read(page)):
    if '://' not in target:
      assert ((_ROOT / page).parent / target).exists(), target


def test_every_page_is_linked():
  linked = {
    (_ROOT / page).parent / target
    for page in _PAGES
    for target in _LINK.findall(read(page))
  }
  assert set(_DOCS.glob('*.md')) <= {path.resolve() for path in linked}


@pytest.mark.parametrize('page', _PAGES, ids=str)
def test_paths_exist(page):
  for code in code_of(read(page)):
    for path in _PATH.findall(code.text):
      assert (_ROOT / path).exists(), path


@pytest.mark.parametrize('page', _PAGES, ids=str)
def test_commands_and_their_flags_exist(page):
  renamed = old_names('Flags') if _ROOT / page != _OLD_NAMES else {}
  renamed = {name.removeprefix('--') for name in renamed}
  for code in code_of(read(page)):
    commands = _COMMAND.findall(code.text)
    for folder, module in commands:
      assert (_ROOT / folder / f'{module}.py').exists(), code.text
    if not commands and not code.text.startswith('--'):
      continue  # another program's
    if _ROOT / page == _OLD_NAMES:
      continue
    known = all_flags()
    if commands:
      folder, module = commands[-1]
      known = defined_flags(_ROOT / folder / f'{module}.py')
    known = known | {f'no{name}' for name in known} | {'help'}
    for flag in _FLAG.findall(code.text):
      old = code.historical and flag in renamed
      assert '-' in flag or flag in known or old, code.text


@pytest.mark.parametrize('page', _PAGES, ids=str)
def test_settings_exist(page):
  if _ROOT / page == _OLD_NAMES:
    return
  for code in code_of(read(page)):
    for name in _SETTING.findall(code.text) + _FIELD.findall(code.text):
      old = code.historical and set(name.split('.')) & set(RENAMED)
      # A page may show settings of the class that its example defines.
      own = f'\n  {name.rpartition(".")[2]}: ' in read(page)
      placeholder = name.lower() != name
      assert has_setting(name) or old or own or placeholder, code.text


def test_every_folder_of_the_package_is_described():
  text = read(pathlib.Path('WORKSPACE.md')) + read(pathlib.Path('README.md'))
  for path in (_ROOT / 'rlt_jax').iterdir():
    if path.name.startswith('_') or path.suffix not in ('', '.py'):
      continue
    assert re.search(rf'`(?:rlt_jax/)?{re.escape(path.name)}`', text), path


def test_every_experiment_is_described():
  text = read(pathlib.Path('WORKSPACE.md'))
  for path in (_ROOT / 'experiments').glob('*.py'):
    if path.stem not in ('__init__', *_SHARED):
      assert f'experiments.{path.stem}`' in text, path


def test_old_names_are_those_that_are_refused():
  settings, station = old_names('Settings'), old_names('Station file')
  known = all_settings(PracticeConfig())
  assert set(settings.values()) <= known
  for old, new in RENAMED.items():
    assert new not in known or settings.get(old) == new, old
  fields = {field.name for field in dataclasses.fields(Station)}
  assert set(station.values()) <= fields
  assert not set(station) & fields
  metrics = old_names('Metrics and reports')
  report = {field.name for field in dataclasses.fields(ReportData)}
  rows = set(METRICS) | set(EpisodeResult._fields)
  assert set(metrics.values()) <= rows | report
  assert not set(metrics) & (rows | report)
  new = {
    name.removeprefix('--').split('=')[0]
    for name in old_names('Flags').values()
  }
  assert new <= all_flags()


def test_pages_name_real_functions_of_sharding():
  text = read(_DOCS / 'clusters.md')
  for name in set(re.findall(r'sharding\.(\w+)', text)) - {'py'}:
    assert hasattr(sharding, name), name


def test_library_example_runs():
  (example,) = _PYTHON.findall(read(_DOCS / 'design.md'))
  names = {}
  exec(compile(example, 'docs/design.md', 'exec'), names)
  assert names['metrics']['finite'] == 1
  agent, state = names['agent'], names['state']
  assert agent.num_updates(state) == agent.updates_per_dispatch


def test_robot_host_needs_only_what_its_page_installs():
  lines = re.findall(r'^pip install (.*)', read(_DOCS / 'robot.md'), re.M)
  loop, report = (set(line.split('#')[0].split()) for line in lines)
  assert packages_of('experiments.robot') <= loop
  robot_report = 'rlt_jax.reporting.robot_report'
  assert packages_of(robot_report) & {'jax', 'flax', 'mujoco'} == set()
  assert report <= packages_of(robot_report)


def packages_of(module: str) -> set[str]:
  """Returns the distributions that a module's import loads."""
  code = (
    f'import sys, {module}\n'
    'print(*{x.split(".")[0] for x in sys.modules if x[0] != "_"})'
  )
  names = subprocess.run(
    [sys.executable, '-c', code],
    check=True,
    capture_output=True,
    text=True,
    cwd=_ROOT,
  ).stdout.split()
  known = importlib.metadata.packages_distributions()
  return {
    distribution.lower()
    for name in set(names) - {'rlt_jax', 'experiments'}
    for distribution in known.get(name, ())
  }


@pytest.mark.parametrize(
  'text, known',
  [
    ('`python -m experiments.sweep --seeds=0,1`', {'seeds'}),
    ('Runs of commit 0123abc:\n`experiments.practice\n--set=a=1`', {'set'}),
    ('```\n$ x \\\n  --set=a=1  # --no\n```', {'set'}),
  ],
)
def test_code_is_found(text, known):
  (code,) = code_of(text)
  assert set(_FLAG.findall(code.text)) == known
  assert code.historical == ('commit' in text)
