"""The launcher, used as an experiment uses it: in a process of its own."""

import ast
import os
import pathlib
import re
import signal
import subprocess
import sys

from absl import flags
import pytest

from experiments import launch
from rlt_jax import config as config_lib

_EXPERIMENT = """
import pathlib
import signal
import sys
import time
from absl import flags, logging
from experiments import launch

_WORKDIR = launch.define_workdir(required=False)
_SETTINGS = launch.define_settings()
_RESUME = launch.define_resume()
_NUMBER = flags.DEFINE_integer('number', 0, 'A number.')
_RAISE = flags.DEFINE_bool('raise', False, 'Fail in another way.')

def main():
  if _RAISE.value:
    raise RuntimeError('a fault')
  with launch.user_errors(KeyError):
    if _WORKDIR.value == 'bad':
      raise ValueError('workdir must be good: bad.')
    if _WORKDIR.value == 'unknown':
      raise KeyError('workdir')
    if _WORKDIR.value.endswith('stopped'):
      print('seed', _SETTINGS.make_config(pathlib.Path(_WORKDIR.value)).seed)
      return
    if _SETTINGS.given():
      print(_SETTINGS.given(), _SETTINGS.make_config().seed)
  print(launch.command_line())
  print('jax' in sys.modules)
  logging.info('a library saved')
  if _WORKDIR.value in ('interrupted', 'early'):
    with launch.resumable(lambda: _WORKDIR.value == 'interrupted'):
      signal.raise_signal(signal.SIGTERM)
  if _WORKDIR.value == 'hung up':
    signal.raise_signal(signal.SIGHUP)
  if _WORKDIR.value == 'compiling':
    signal.raise_signal(signal.SIGTERM)
    time.sleep(60)
    print('waited for')

if __name__ == '__main__':
  saves_nothing = '--workdir=compiling' in sys.argv
  launch.run(main, keep_compiled=False, saves_nothing=saves_nothing)
"""


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  folder = tmp_path_factory.mktemp('experiments')
  (folder / 'toy_experiment.py').write_text(_EXPERIMENT)

  def run(*arguments):
    return subprocess.run(
      [sys.executable, '-m', 'toy_experiment', *arguments],
      env={'PYTHONPATH': f'{folder}:.', 'PATH': ''},
      capture_output=True,
      text=True,
      check=False,
    )

  return run


@pytest.mark.parametrize('flags, logged', [([], False), (['-v=0'], True)])
def test_information_is_logged_only_on_request(experiment, flags, logged):
  done = experiment('--workdir=a', *flags)
  assert ('a library saved' in done.stderr) == logged


def test_the_command_is_recorded_and_jax_is_not_imported(experiment):
  done = experiment('--workdir=a b')
  assert done.returncode == 0, done.stderr
  command, with_jax = done.stdout.splitlines()
  assert command == "python -m toy_experiment '--workdir=a b'"
  assert with_jax == 'False'


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--workdir=bad'], 'error: workdir must be good: bad.\n'),
    (['--workdir=unknown'], "error: 'workdir'\n"),
    (['more', '--workdir=a'], "error: Unknown arguments: ['more'].\n"),
  ],
)
def test_a_user_error_is_one_sentence(experiment, arguments, message):
  done = experiment(*arguments)
  assert (done.returncode, done.stderr) == (1, message)


def test_a_fault_keeps_its_traceback(experiment):
  done = experiment('--raise')
  assert done.returncode == 1
  assert 'Traceback' in done.stderr and 'a fault' in done.stderr


@pytest.mark.parametrize(
  'arguments, ending',
  [
    (
      ['--workdir=interrupted'],
      'Saved. Continue with: python -m toy_experiment --workdir=interrupted '
      '--resume\n',
    ),
    (
      ['--resume', '--workdir=interrupted'],
      'Saved. Continue with: python -m toy_experiment --resume '
      '--workdir=interrupted\n',
    ),
    (
      ['--workdir=early'],
      'Nothing to save yet. Start again with: python -m toy_experiment '
      '--workdir=early\n',
    ),
  ],
)
def test_an_interrupted_run_says_how_to_continue(experiment, arguments, ending):
  done = experiment(*arguments)
  assert done.returncode == 128 + signal.SIGTERM
  # The interpreter by its own path: there is no `python` in this PATH.
  python = sys.executable
  if pathlib.Path(python).is_relative_to(pathlib.Path.cwd()):
    python = os.path.relpath(python)
  assert done.stderr == f'\n{ending}'.replace(': python', f': {python}')


def test_a_command_that_cannot_be_resumed_says_what_ended_it(experiment):
  done = experiment('--workdir=hung up')
  assert done.returncode == 128 + signal.SIGHUP
  assert done.stderr == '\nStopped by SIGHUP.\n'


def test_a_command_that_saves_nothing_is_given_up_while_it_compiles(experiment):
  done = experiment('--workdir=compiling')
  assert done.returncode == 128 + signal.SIGTERM
  assert done.stderr.endswith('\nStopped by SIGTERM.\n')
  assert 'waited for' not in done.stdout


def test_flags_make_the_settings(experiment):
  done = experiment('--set=seed=3', '--set=seed=4')
  assert "\n['set'] 4\n" in f'\n{done.stdout}', done.stderr


def test_a_resumed_run_has_the_settings_in_its_folder(experiment, tmp_path):
  folder = tmp_path / 'stopped'
  folder.mkdir()
  config = launch.make_config(['seed=7'])
  (folder / 'config.json').write_text(config_lib.to_json(config))
  arguments = [f'--workdir={folder}', '--resume']
  assert experiment(*arguments).stdout == 'seed 7\n'
  assert experiment(*arguments, '--set=seed=7').stdout == 'seed 7\n'
  done = experiment(*arguments, '--set=seed=8')
  assert done.returncode == 1 and done.stderr.startswith('error: A resumed run')
  assert 'keeps seed=7' in done.stderr and done.stderr.endswith(': seed=8.\n')


@pytest.mark.parametrize(
  'flag, rule',
  [('--number=x', "must be an integer: 'x'."), ('--raise=x', '--raise=x: ')],
)
def test_a_flag_of_the_wrong_type_says_what_it_must_be(experiment, flag, rule):
  done = experiment(flag)
  assert done.returncode == 1 and done.stderr.startswith('error: --')
  assert rule in done.stderr and len(done.stderr.splitlines()) == 1


def test_help_lists_flags_and_settings(experiment):
  done = experiment('--help')
  assert done.returncode == 0 and not done.stderr
  for name in ('workdir', 'set', 'task', '[no]resume (default: false)'):
    assert f'\n  --{name}' in done.stdout
  assert '\n  agent.beta=0.003\n      Weight on the squared' in done.stdout
  assert 'task.clearance_mm=0.3' in done.stdout
  assert max(map(len, done.stdout.splitlines())) <= 80


def test_help_lists_the_settings_of_the_chosen_agent(experiment):
  text = experiment('--agent=imitation', '--help').stdout
  assert 'agent.learning_rate=' in text and 'agent.tau=' not in text


@pytest.mark.parametrize(
  'flag, hint',
  [
    ('--workdr=a', 'Did you mean --workdir?'),
    ('--gamma=0.9', 'Did you mean --set=gamma=VALUE?'),
    ('--agent.beta=1', 'Did you mean --set=agent.beta=VALUE?'),
    ('--bta=1', 'Did you mean --set=agent.beta=VALUE?'),
    ('--qqqqqq', 'There is no flag --qqqqqq. --help lists'),
  ],
)
def test_a_mistyped_flag_gets_the_nearest_flag_or_setting(
  experiment, flag, hint
):
  done = experiment(flag)
  assert done.returncode == 1 and done.stderr.startswith('error: ')
  assert hint in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
  'path', sorted(pathlib.Path('experiments').glob('*.py')), ids=str
)
def test_the_text_of_an_experiment_has_an_example_and_its_cost(path):
  source = path.read_text()
  text = ast.get_docstring(ast.parse(source), clean=False) or ''
  # A backslash alone would join the lines of the docstring, not of the shell.
  lines = text.splitlines()
  assert all(len(line) <= 80 for line in lines)
  for before, line in zip(lines, lines[1:], strict=False):
    if re.match(' +--', line):
      assert before.endswith(' \\'), f'This cannot be pasted: {line}'
  if "\nif __name__ == '__main__':" in source:
    assert f'python -m experiments.{path.stem}' in text
    assert '\nCost: ' in text


@pytest.mark.parametrize(
  'text, expanded',
  [
    ('~/runs/a', '/home/x/runs/a'),
    ('pi_small:~/vla', 'pi_small:/home/x/vla'),
    ('ws://h:1?token_file=~/secret', 'ws://h:1?token_file=/home/x/secret'),
    ('runs/a~b', 'runs/a~b'),
    ('sim', 'sim'),
  ],
)
def test_a_path_flag_knows_the_home_folder(monkeypatch, text, expanded):
  monkeypatch.setenv('HOME', '/home/x')
  values = flags.FlagValues()
  flags.DEFINE(launch.PathParser(), 'a', '', 'text', flag_values=values)
  values(['', f'--a={text}'])
  assert values.a == expanded


@pytest.mark.parametrize(
  'path', sorted(pathlib.Path('experiments').glob('*.py')), ids=str
)
def test_every_flag_with_a_file_or_folder_is_a_path(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call) and 'DEFINE_string' in ast.unparse(node.func):
      text = ast.unparse(node)
      assert not re.search(r'[Ff]older|[Ff]ile\b|FOLDER', text), text
