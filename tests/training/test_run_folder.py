"""Which folders a run may use, and who may write there."""

import errno
import fcntl
import os

import pytest

from rlt_jax import lock
from rlt_jax.training import run_folder

_MADE = {
  'nothing': (),
  'an empty folder': ('',),
  'a lock': ('lock',),
  'no checkpoint yet': (
    'lock', 'config.json', 'evaluations.json', 'metrics.jsonl',
    'tensorboard/events', 'checkpoints/.partial-12/state/d',
  ),
  'a checkpoint': ('config.json', 'checkpoints/500/meta.json'),
  'a replaced checkpoint': ('config.json', 'checkpoints/.replaced-500/x'),
  'a damaged checkpoint': ('config.json', 'checkpoints/damaged-500/x'),
  'other files': ('config.json', 'thesis.tex'),
  'metrics alone': ('metrics.jsonl',),
}  # fmt: skip


@pytest.fixture
def make(tmp_path):
  def run(kind):
    for name in _MADE[kind]:
      path = tmp_path / 'a' / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text('') if name else path.mkdir(exist_ok=True)
    return tmp_path / 'a'

  return run


@pytest.mark.parametrize(
  'kind', ['nothing', 'an empty folder', 'a lock', 'no checkpoint yet']
)
def test_a_run_begins_where_nothing_would_be_lost(make, kind):
  workdir = make(kind)
  run_folder.check_workdir(workdir, resume=False)
  held = run_folder.lock(workdir)
  run_folder.clear(workdir)
  assert [x.name for x in workdir.iterdir()] == ['lock']
  with pytest.raises(ValueError, match='needs a checkpoint .* begins again'):
    run_folder.check_workdir(workdir, resume=True)
  held.release()


@pytest.mark.parametrize(
  'kind, reason',
  [
    ('a checkpoint', 'has a run with the checkpoint 500'),
    ('a replaced checkpoint', 'has a run with the checkpoint 500'),
    ('a damaged checkpoint', 'has the damaged checkpoint damaged-500'),
    ('other files', 'has other files, thesis.tex'),
    ('metrics alone', 'has other files and no config.json'),
  ],
)
def test_a_run_does_not_begin_where_there_is_something(make, kind, reason):
  with pytest.raises(ValueError, match=f'must be new .*{reason}'):
    run_folder.check_workdir(make(kind), resume=False)


def test_a_file_is_no_workdir(tmp_path):
  (tmp_path / 'a').write_text('')
  with pytest.raises(ValueError, match='must be a folder: .* is a file'):
    run_folder.check_workdir(tmp_path / 'a', resume=False)


def test_one_process_writes_at_a_time(tmp_path):
  with run_folder.lock(tmp_path / 'a'):
    with pytest.raises(lock.LockedError, match=f'process {os.getpid()} has it'):
      run_folder.lock(tmp_path / 'a')
  run_folder.lock(tmp_path / 'a').release()


def _fail(code):
  def fail(*_):
    raise OSError(code, os.strerror(code))

  return fail


def test_a_disk_without_locks_is_said_once(tmp_path, monkeypatch, capfd):
  monkeypatch.setattr(fcntl, 'flock', _fail(errno.ENOSYS))
  assert run_folder.lock(tmp_path / 'a') is None
  assert 'has no locks: see to it' in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'open', _fail(errno.EROFS))
  with pytest.raises(OSError, match='can be written: .*: Read-only file sys'):
    run_folder.lock(tmp_path)


def test_damaged_evaluations_are_named(tmp_path):
  path = tmp_path / 'evaluations.json'
  path.write_text('{"base": ')
  with pytest.raises(ValueError, match=f'{path} must hold JSON'):
    run_folder.Record(path)
