"""Practice on a task of one's own: the example of docs/extending_task.md."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

from rlt_jax import tasks, vlas
from rlt_jax.tasks.task import Outcome, Task
from rlt_jax.training import config as config_lib
from rlt_jax.training import practice_run
from rlt_jax.training import setup as setup_lib
from tests.training.test_foreign_vla import write_token

_PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'extending_task.md'
_VLA = 'tests.tasks.spot_vla:make'
_SMALL = (
  'task.time_limit=40', 'num_envs=2', 'num_env_steps=240',
  'vla_warmup_steps=120', 'vla_warmup_successes=0',
  'learning_starts=16', 'agent.batch_size=16',
  'replay_capacity=200', 'open_loop_steps=10', 'num_eval_episodes=2',
  'num_final_episodes=2', 'num_eval_videos=1', 'eval_at_minutes=',
)  # fmt: skip


def _block(kind):
  (text,) = re.findall(rf'```{kind}\n(.*?)```', _PAGE.read_text('utf-8'), re.S)
  return text


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The page's files, and a token of the VLA that fits them."""
  folder = tmp_path_factory.mktemp('spot')
  (folder / 'spot.xml').write_text(_block('xml'))
  (folder / 'spot.py').write_text(_block('python'))
  write_token(folder, vlas.load(_VLA).spec, num_image_tokens=16)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(folder)
    yield folder


def _config(*changes, vla=_VLA, task='spot:make'):
  return config_lib.make_config([*_SMALL, *changes], task=task, vla=vla)


def test_the_example_is_short():
  assert _block('python').count('\n') < 60


def test_practice_runs_on_it_from_warm_up_to_report(folder, tmp_path):
  config, workdir = _config(), tmp_path / 'run'
  run = practice_run.PracticeRun(
    workdir=workdir, config=config, resume=False, assets=str(folder)
  )
  run.practice()
  run.report()
  rows = (workdir / 'metrics.jsonl').read_text().splitlines()
  assert json.loads(rows[-1])['env_steps'] >= 240
  assert json.loads(rows[-1])['critic_updates'] > 0
  report = json.loads((workdir / 'report.json').read_text())
  assert set(report['final']['outcomes']) <= {'time_out', 'success'}
  assert (workdir / 'film.gif').stat().st_size > 0
  stored = (workdir / 'config.json').read_text()
  assert config_lib.read_config(stored) == config


def test_its_settings_reach_it(folder):
  del folder
  config = _config('task.tolerance_mm=7.5', 'task.time_limit=50')
  task = setup_lib.tasks.load(config.task_name, config.task)
  assert (task.config.tolerance_mm, task.spec.time_limit) == (7.5, 50)
  with pytest.raises(ValueError, match="did you mean 'task.tolerance_mm'"):
    _config('task.tolerance=7.5')


@pytest.mark.parametrize(
  'vla, sentence',
  [
    ('pi_small', "trained on the task's instruction, 'go to the red"),
    ('tests.tasks.spot_vla:make_other_joints', "joint_names must .*'x', 'y'"),
    ('tests.tasks.spot_vla:make_other_rate', 'control_hz must .* 50.0: 20.0'),
  ],
)
def test_a_vla_that_does_not_fit_is_refused(folder, vla, sentence):
  assets = '' if vla == 'pi_small' else str(folder)
  with pytest.raises(ValueError, match=sentence):
    setup_lib.make(_config(vla=vla), assets)


def test_a_task_without_cameras_is_refused(folder, monkeypatch):
  task = dataclasses.replace(tasks.load('spot:make'), render=None)
  monkeypatch.setattr(setup_lib.tasks, 'load', lambda *_: task)
  with pytest.raises(ValueError, match="cameras, Task.render: 'spot:make'"):
    setup_lib.make(_config(), str(folder))


@pytest.mark.parametrize(
  'source, name, sentence',
  [
    ('', 'nowhere:make', "module that can be imported: 'nowhere:make'"),
    ('', 'odd', "must be one of .*'ethernet'.*'module:function': 'odd'"),
    ('x = 1', 'a0:make', "a0 has no 'make'"),
    ('make = 1', 'a1:make', "'module:function' of a function: it is 1"),
    ('def make(): return 1', 'a2:make', "a Task: 'a2:make' returned an int"),
    ('def make(config): return 1', 'a3:make', 'annotate its parameter config'),
    (
      'import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass C:\n'
      '  a: int = 1\ndef make(config: C): return 1',
      'a4:make',
      'settings that extend TaskConfig',
    ),
    ('import nowhere_else', 'a5:make', 'can be imported.*nowhere_else'),
  ],
)
def test_what_is_not_a_task_is_refused(
  tmp_path, monkeypatch, source, name, sentence
):
  (tmp_path / f'{name.partition(":")[0]}.py').write_text(source)
  if not source:
    (tmp_path / f'{name.partition(":")[0]}.py').unlink()
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ValueError, match=sentence):
    config = config_lib.make_config(task=name)
    tasks.load(config.task_name, config.task)


def test_the_shipped_task_uses_the_same_door():
  one, other = (
    tasks.load(name)
    for name in ('ethernet', 'rlt_jax.tasks.ethernet.task:make')
  )
  assert isinstance(one, Task) and one.spec == other.spec
  assert one.spec.outcomes[Outcome.SUCCESS] == 'success'
  assert np.isfinite(one.spec.joint_low).all()
