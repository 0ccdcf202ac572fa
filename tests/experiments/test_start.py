"""How experiments and benchmarks start: quickly and without noise."""

import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_COMMANDS = sorted(
  f'{folder}.{path.stem}'
  for folder in ('experiments', 'benchmarks')
  for path in (_ROOT / folder).glob('*.py')
  if "\nif __name__ == '__main__':" in path.read_text('utf-8')
)
_HEAVY = ('jax', 'flax', 'optax', 'chex', 'orbax', 'mujoco', 'scipy')
_IMPORTED = f"""
import sys
print(*[name for name in {_HEAVY} if name in sys.modules], file=sys.stderr)
"""
_HELP = """
import runpy, sys
sys.argv = [sys.argv[1], '--help']
try:
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
finally:
"""


def python(code, *arguments):
  return subprocess.run(
    [sys.executable, '-c', code, *arguments],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    check=False,
  )


@pytest.mark.parametrize('name', _COMMANDS)
def test_help_is_quick_and_prints_nothing_else(name):
  code = _HELP + '\n'.join(f'  {x}' for x in _IMPORTED.splitlines())
  done = python(code, name)
  source = (_ROOT / f'{name.replace(".", "/")}.py').read_text('utf-8')
  first = source.split('"""')[1].splitlines()[0]
  assert done.stdout.splitlines()[0] == first
  assert done.stderr.strip() == ''  # no module of _HEAVY, no other line


def test_a_comparison_lists_all_settings_of_its_rows():
  done = python(_HELP + '  pass', 'experiments.compare')
  for name in (
    'agent.beta=0.003',
    'utd_ratio=',
    'task.clearance_mm=',
    'gamma=',
  ):
    assert f'\n  {name}' in done.stdout, done.stderr
  for name in ('seed', 'num_env_steps', 'agent_name'):
    assert f'\n  {name}=' not in done.stdout
  done = python(
    _HELP.replace('--help', '--utd_rtio=2') + '  pass', 'experiments.compare'
  )
  assert 'Did you mean --set=utd_ratio=VALUE?' in done.stderr


def test_the_64_bit_mode_is_refused_in_a_sentence(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.practice', f'--workdir={tmp_path}/a'],
    env=os.environ | {'JAX_ENABLE_X64': '1'},
    capture_output=True,
    text=True,
    cwd=_ROOT,
    check=False,
  )
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr.startswith('error: JAX must compute in 32 bits')
  assert done.stderr.count('\n') == 1
  assert not (tmp_path / 'a').exists()


def test_the_settings_are_read_without_jax():
  done = python(
    f'import rlt_jax.training.config, experiments.launch{_IMPORTED}'
  )
  assert (done.returncode, done.stderr) == (0, '\n')


_OPENED = """
import runpy, sys
def reached(*_, **__):
  raise SystemExit('reached')
{patch}
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


@pytest.mark.parametrize(
  'arguments, patch, line',
  [
    (
      ['evaluate', '--episodes=200'],
      'from rlt_jax.training import policies; policies.of_base = reached',
      'Evaluating in 200 episodes each: about 60 s a policy on two cores, and ',
    ),
    (
      ['compare_physics', '--workdir=a', '--out=b', '--world=x=1', '--world=y'],
      'from rlt_jax.training import policies; policies.of_run = reached',
      'Evaluating VLA and agent in 8 cells of 100 episodes, less what the ',
    ),
    (
      ['probe_pose', '--poses=6000'],
      'from rlt_jax import tasks; tasks.load = reached',
      'Rendering and embedding 6,000 poses, then fitting a network to each ',
    ),
    (
      ['export_policy', '--workdir=a', '--out=no/b'],
      'from rlt_jax.training import policy_export as p; p.from_run = reached',
      'Writing and comparing its forms takes up to half a minute.',
    ),
  ],
)
def test_what_takes_long_says_so_at_the_start(arguments, patch, line):
  name, *rest = arguments
  done = python(_OPENED.format(patch=patch), f'experiments.{name}', *rest)
  assert done.stderr.strip() == 'reached'
  assert done.stdout.startswith(line) and done.stdout.count('\n') == 1
