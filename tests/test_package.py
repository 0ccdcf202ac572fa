"""What an installed package has: launch files, commands, assets, version."""

import fnmatch
import pathlib
import re
import runpy
import subprocess
import sys
import tomllib

import pytest

import rlt_jax

_ROOT = pathlib.Path(__file__).parents[1]
_PACKAGE = _ROOT / 'rlt_jax'
# As an installed package finds them: `experiments` inside of `rlt_jax`.
_COMMAND = f"""
import sys
import rlt_jax
rlt_jax.__path__.append({str(_ROOT)!r})
from rlt_jax.experiments import launch
sys.argv = sys.argv[1:]
launch.run_command()
"""


@pytest.fixture(scope='module')
def setup_arguments():
  setuptools = pytest.importorskip('setuptools')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(_ROOT)
    found = {}
    patch.setattr(setuptools, 'setup', found.update)
    runpy.run_path('setup.py')
  return found


def test_every_folder_with_modules_is_installed(setup_arguments):
  folders = {path.parent for path in _PACKAGE.rglob('*.py')}
  names = {'.'.join(x.relative_to(_ROOT).parts) for x in folders}
  assert set(setup_arguments['packages']) == names | {'rlt_jax.experiments'}
  (folder,) = setup_arguments['package_dir'].values()
  assert (_ROOT / folder / 'launch.py').exists()


def test_every_experiment_is_a_command(setup_arguments):
  commands = {
    text.partition(' = ')[0]
    for text in setup_arguments['entry_points']['console_scripts']
  }
  page = (_ROOT / 'WORKSPACE.md').read_text('utf-8')
  names = re.findall(r'`python -m experiments\.(\w+)`', page)
  assert commands == {f'rlt-{name.replace("_", "-")}' for name in names}


def run_command(*arguments, cwd):
  return subprocess.run(
    [sys.executable, '-c', _COMMAND, *arguments],
    capture_output=True,
    text=True,
    cwd=cwd,
    env={'PYTHONPATH': str(_ROOT), 'PATH': ''},
    check=False,
  )


def test_a_command_runs_its_launch_file(tmp_path):
  done = run_command('/a b/rlt-export-policy', '--help', cwd=tmp_path)
  assert (done.returncode, done.stderr) == (0, '')
  assert 'python -m rlt_jax.experiments.export_policy --' in done.stdout
  assert 'python -m experiments' not in done.stdout


def test_every_data_file_of_the_package_is_installed():
  project = tomllib.loads((_ROOT / 'pyproject.toml').read_text('utf-8'))
  patterns = project['tool']['setuptools']['package-data']['rlt_jax']
  files = [
    str(path.relative_to(_PACKAGE))
    for path in _PACKAGE.rglob('*')
    if path.is_file() and path.suffix not in ('.py', '.pyc')
  ]
  assert files
  for file in files:
    assert any(fnmatch.fnmatch(file, x) for x in patterns), file


def test_the_version_is_that_of_the_citation():
  citation = (_ROOT / 'CITATION.cff').read_text('utf-8')
  assert f'\nversion: {rlt_jax.__version__}\n' in citation


@pytest.mark.parametrize('task, minutes', [
  ('screw', '1.5'), ('zip_tie', '3'), ('charger', ''), ('', ''),
])  # fmt: skip
def test_make_practices_a_task_as_published(task, minutes):
  command = ['make', '-n', 'practice', f'TASK={task}', 'VENV=none']
  shown = subprocess.run(
    command, cwd=_ROOT, capture_output=True, text=True, check=True
  ).stdout
  assert (f'--task={task} ' in shown) == bool(task)
  assert ('human.help_minutes' in shown) == bool(minutes)
  assert f'--set=human.help_minutes={minutes}' in shown or not minutes


def test_the_newest_versions_are_tested_with_what_the_tests_need():
  rule = (_ROOT / 'Makefile').read_text('utf-8').partition('\ntest-newest:')[2]
  extras = re.search(r"-e '\.\[([\w,]+)\]'", rule).group(1).split(',')
  # Of readers of datasets and of the tokenizer; tests are left out, or not even
  # collected, without them.
  assert {'datasets', 'openpi', 'gym', 'onnx', 'test'} <= set(extras)


def test_the_versions_of_python_are_the_same_everywhere():
  text = (_ROOT / 'pyproject.toml').read_text('utf-8')
  project = tomllib.loads(text)['project']
  first, last = re.fullmatch(
    r'>=3\.(\d+),<3\.(\d+)', project['requires-python']
  ).groups()
  versions = [f'3.{minor}' for minor in range(int(first), int(last))]
  start = 'Programming Language :: Python :: 3.'
  listed = [x for x in project['classifiers'] if x.startswith(start)]
  assert [x.rpartition(' ')[2] for x in listed] == versions
  makefile = (_ROOT / 'Makefile').read_text('utf-8')
  bounds = f'(3, {first}) <= sys.version_info < (3, {last})'
  assert bounds in makefile
  for version in versions:
    assert f'python{version}' in makefile
