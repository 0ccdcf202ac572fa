"""The launcher, used as an experiment uses it: in a process of its own."""

import subprocess
import sys

import pytest

_EXPERIMENT = """
import sys
from absl import flags, logging
from experiments import launch

_WORKDIR = launch.define_workdir(required=False)
_SETTINGS = launch.define_settings()
_RESUME = launch.define_resume()
_RAISE = flags.DEFINE_bool('raise', False, 'Fail in another way.')

def main():
  if _RAISE.value:
    raise RuntimeError('a fault')
  with launch.user_errors(KeyError):
    if _WORKDIR.value == 'bad':
      raise ValueError('workdir must be good: bad.')
    if _WORKDIR.value == 'unknown':
      raise KeyError('workdir')
    if _SETTINGS.given():
      print(_SETTINGS.given(), _SETTINGS.make_config().seed)
  print(launch.command_line())
  print('jax' in sys.modules)
  logging.info('a library saved')
  if _WORKDIR.value == 'interrupted':
    with launch.save_on_interrupt(lambda: print('saving')):
      raise KeyboardInterrupt

if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
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
    (['--workdir=interrupted'], '--workdir=interrupted --resume\n'),
    (['--resume', '--workdir=interrupted'], '--resume --workdir=interrupted\n'),
  ],
)
def test_an_interrupted_run_says_how_to_continue(experiment, arguments, ending):
  done = experiment(*arguments)
  assert done.returncode == 1 and 'saving\n' in done.stdout
  assert done.stderr.endswith(
    f'Saved. Continue with: python -m toy_experiment {ending}'
  )


def test_flags_make_the_settings(experiment):
  done = experiment('--set=seed=3', '--set=seed=4')
  assert "\n['set'] 4\n" in f'\n{done.stdout}', done.stderr


def test_help_shows_the_common_flags(experiment):
  text = experiment('--help').stdout
  assert all(f'--{name}:' in text for name in ('workdir', 'set', 'task'))
  assert '--[no]resume:' in text
