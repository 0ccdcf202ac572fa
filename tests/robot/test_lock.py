import os
import signal
import subprocess
import sys

import pytest

from rlt_jax.robot.lock import Lock, lock_arm, lock_folder, LockedError

_HOLD = (
  'import sys, time\n'
  'from rlt_jax.robot.lock import lock_arm\n'
  'lock = lock_arm("left", sys.argv[1])\n'
  'print("held", flush=True)\n'
  'time.sleep(60)'
)


def test_a_second_loop_is_refused_with_the_first_ones_number(tmp_path):
  first = subprocess.Popen(
    [sys.executable, '-c', _HOLD, str(tmp_path)], stdout=subprocess.PIPE
  )
  try:
    assert first.stdout.readline() == b'held\n'
    with pytest.raises(LockedError) as error:
      lock_arm('left', tmp_path)
    assert str(error.value) == (
      f'The arm left must have one user: process {first.pid} has it.'
    )
    lock_arm('right', tmp_path).release()
    first.send_signal(signal.SIGKILL)
    first.wait()
    lock_arm('left', tmp_path).release()  # the file is there, the lock is not
  finally:
    first.kill()
    first.wait()
    first.stdout.close()


def test_one_process_cannot_have_it_twice(tmp_path):
  with lock_folder(tmp_path / 'new'):
    with pytest.raises(LockedError, match=f'process {os.getpid()} has it'):
      lock_folder(tmp_path / 'new')
  with lock_folder(tmp_path / 'new') as lock:
    lock.release()
    lock.release()


def test_a_lock_of_another_user_is_refused(tmp_path, monkeypatch):
  def refuse(*_):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(os, 'open', refuse)
  with pytest.raises(LockedError, match='belongs to another one'):
    Lock(tmp_path / 'lock', 'The arm')


def test_a_full_disk_does_not_cost_the_lock(tmp_path, monkeypatch):
  def full(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'pwrite', full)
  with lock_folder(tmp_path):
    with pytest.raises(LockedError, match='another process has it'):
      lock_folder(tmp_path)


@pytest.mark.parametrize('name', ['', '../left', 'a b', '.hidden'])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
  with pytest.raises(ValueError, match='a name of letters and digits'):
    lock_arm(name, tmp_path)
