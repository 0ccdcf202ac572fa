"""What a user may get wrong on the command line, and the answer."""

import subprocess
import sys
import types

import pytest

from experiments import launch
from rlt_jax.training import policies, practice_run

_BAD = 'tests.experiments.bad_parts'


@pytest.fixture
def start(tmp_path):
  """Starts practice as `experiments.practice` does; returns what it says."""
  workdir = tmp_path / 'run'

  def start_run(assignments=(), **flags):
    with pytest.raises(SystemExit) as refusal:
      with launch.user_errors():
        practice_run.PracticeRun(
          workdir=workdir,
          config=launch.make_config(list(assignments), **flags),
          resume=False,
        )
    assert not workdir.exists()
    return str(refusal.value)

  return start_run


@pytest.mark.parametrize(
  'flag, value, sentences',
  [
    ('agent', 'Imitatoin', ['An agent must', "mean 'imitation'"]),
    ('agent', 'no.such:make', ["'no.such:make' (No module named 'no')"]),
    ('agent', './my_agent.py:make', ['without .py', './my_agent.py']),
    ('agent', '.mine:make', ['import statement', '.mine:make']),
    ('agent', f'{_BAD}:NUMBER', ['of a function: it is 3']),
    ('agent', f'{_BAD}:agent_nome', ["mean 'agent_none'?"]),
    ('agent', f'{_BAD}:agent_mutable', ['frozen=True', 'Mutable']),
    ('agent', f'{_BAD}:agent_without_default', ["none for ['width']"]),
    ('agent', f'{_BAD}:agent_without_sizes', ['parameters (config, sizes)']),
    ('agent', f'{_BAD}:agent_unknown_class', ["'Nowhere' is not defined"]),
    ('agent', f'{_BAD}:agent_none', ['returns an Agent', 'a NoneType']),
    ('task', 'ethernt', ['A task must', "mean 'ethernet'?"]),
    ('task', f'{_BAD}:task_with_more', ['parameters (config)', "'more'"]),
    ('task', f'{_BAD}:task_none', ['returns a Task', 'a NoneType']),
    ('task', f'{_BAD}:task_joints', ['joint_names', '--vla=']),
    ('task', f'{_BAD}:task_cameras', ['cameras', 'front', '--vla=']),
    ('task', f'{_BAD}:task_image_size', ['image_size', '96: 64', '--vla=']),
    ('task', f'{_BAD}:task_instruction', ["instruction, 'insert ", '--vla=']),
    ('task', f'{_BAD}:task_time_limit', ['spec.time_limit', '500: 300']),
    ('vla', 'pi_smal', ["mean 'pi_small'?", "'pi_smal'."]),
    ('vla', 'pi_small:', ['after its last colon']),
    ('vla', f'{_BAD}:vla_with_two:x', ['ARGUMENT', "'second'"]),
    ('vla', 'http://127.0.0.1:8000', ['ws://127.0.0.1:8000', 'http']),
    ('vla', 'ws://', ['such as ws://127.0.0.1:8000']),
    ('vla', 'ws://127.0.0.1:99999', ['from 1 to 65535', '99999']),
    ('vla', 'ws://a:1?token_file=/none', ['token_file', "'/none'"]),
  ],
)
def test_a_part_that_does_not_fit_is_refused(start, flag, value, sentences):
  message = start(**{flag: value})
  assert message.startswith('error: ')
  for sentence in sentences:
    assert sentence in message


@pytest.mark.parametrize(
  'code, sentence',
  [
    ('def make(:\n', 'SyntaxError'),
    ('\nraise RuntimeError("no licence")\n', 'no licence, in '),
    ('import not_installed\n', "No module named 'not_installed'"),
  ],
)
def test_a_module_that_fails_is_named_with_its_place(
  start, tmp_path, monkeypatch, code, sentence
):
  (tmp_path / 'broken_part.py').write_text(code)
  monkeypatch.syspath_prepend(tmp_path)
  message = start(agent='broken_part:make')
  assert sentence in message and "'broken_part:make'" in message


@pytest.mark.parametrize(
  'assignment, sentences',
  [
    ('task=mine:make', ['--task=NAME', '--set=task.FIELD=VALUE']),
    ('agent=imitation', ['--agent=NAME', '--set=agent.FIELD=VALUE']),
    ('agent.beta', ["'field=value'", "'agent.beta'"]),
    ('agent.bta=1', ["did you mean 'agent.beta'?"]),
    ('update.beta=1', ["it is now 'agent.beta'"]),
    ('checkpoint_minutes=0.0001', ['at least a control step: 0.0001']),
    ('num_envs=10000', ['replay_capacity must hold the 50000 rows']),
    ('replay_capacity=10', ['replay_capacity', 'agent.batch_size 64: 10']),
    ('eval_at_minutes=-1', ['positive', '--set=eval_at_minutes=']),
  ],
)
def test_a_setting_that_does_not_fit_is_refused(start, assignment, sentences):
  message = start([assignment])
  for sentence in sentences:
    assert sentence in message


def test_flags_of_what_a_run_has_itself_are_refused():
  def flag(name, value, present=True):
    return types.SimpleNamespace(name=name, value=value, present=present)

  none = launch.SettingFlags(*[flag('', '')] * len(launch.SettingFlags._fields))
  horizons = flag('horizons', ['10'])
  launch.check_own_settings(flag('workdir', ''), none, horizons)
  launch.check_own_settings(flag('workdir', 'a'), none, flag('h', '', False))
  with pytest.raises(ValueError, match=r"remove the flags \['horizons'\]"):
    launch.check_own_settings(flag('workdir', 'a'), none, horizons)


@pytest.mark.parametrize(
  'text, sentences',
  [
    (None, ['the folder of a run', 'no config.json']),
    ('not JSON', ['config.json cannot be used: ']),
    ('{"robots": 8}', ['config.json cannot be used: ', "is now 'num_envs'"]),
  ],
)
def test_a_folder_without_a_run_of_this_version_is_refused(
  tmp_path, text, sentences
):
  if text is not None:
    (tmp_path / 'config.json').write_text(text)
  with pytest.raises(SystemExit) as refusal:
    with launch.user_errors():
      policies.of_run(tmp_path, '', 0)
  for sentence in ['error: ', *sentences]:
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
  'experiment, flag, rule',
  [
    ('evaluate', '--horizons=ten', 'must be integers of at least 1'),
    ('evaluate', '--horizons=0,10', 'must be integers of at least 1'),
    ('evaluate', '--out=/proc/out/a.json', 'out/a.json cannot be written: No'),
    ('sweep', '--seeds=1,b', 'must be integers of at least 0'),
    ('check_bundle', '--bundle=/no/bundle', 'folder /no/bundle'),
    ('robot_cell', '--num_base_episodes=-1', 'non-negative integer'),
    ('robot', '--bundle=b', "Only --station=sim can have the flags ['bundle']"),
    ('robot', '--workdir=', '--workdir must be given'),
    ('robot', '--resume_after_s=-1', 'resume_after_s must not be negative'),
  ],
)
def test_a_flag_out_of_its_range_is_refused(experiment, flag, rule):
  more = [] if experiment == 'check_bundle' else ['--workdir=/a']
  more += ['--station=s.json'] if experiment == 'robot' else []
  done = subprocess.run(
    [sys.executable, '-m', f'experiments.{experiment}', *more, flag],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode and 'Traceback' not in done.stderr
  assert rule in done.stderr and flag[2:].partition('=')[0] in done.stderr
