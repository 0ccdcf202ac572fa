import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from rlt_jax import lock as lock_lib
from rlt_jax.lock import Lock, lock_folder, LockedError
from rlt_jax.robot.lock import lock_arm

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


def test_a_lock_that_may_not_be_opened_is_refused(tmp_path, monkeypatch):
  def refuse(path, flags, *_):
    if flags & os.O_CREAT:
      raise FileExistsError(17, 'File exists')
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(os, 'open', refuse)
  with pytest.raises(LockedError, match='belongs to another one'):
    Lock(tmp_path / 'lock', 'The arm')


_USERS = pytest.mark.skipif(
  os.geteuid() != 0, reason='only root can be another user'
)


@_USERS
@pytest.mark.parametrize('first, second', [(0, 65534), (65534, 0), (1, 65534)])
def test_users_take_turns_in_a_folder_that_both_may_write(
  tmp_path_factory, first, second
):
  # As /tmp is: sticky, for all users.
  folder = tmp_path_factory.mktemp('locks')
  folder.chmod(0o1777)
  # pytest-xdist puts a folder between; only what is pytest's may be changed.
  base = pathlib.Path(tempfile.gettempdir()).resolve()
  for parent in folder.resolve().parents:
    if base in parent.parents:
      parent.chmod(0o755)
  command = [
    sys.executable,
    '-c',
    'import os, sys\n'
    'from rlt_jax.robot.lock import lock_arm\n'
    'os.umask(0o077)\n'
    'os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))\n'
    'try:\n'
    '  lock = lock_arm("left", sys.argv[1])\n'
    'except OSError as error:\n'
    '  print(error, flush=True)\n'
    '  sys.exit(1)\n'
    'print("held", flush=True)\n'
    'sys.stdin.read()',
    str(folder),
  ]
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
  with subprocess.Popen([*command, str(first)], **pipes) as holder:
    assert holder.stdout.readline() == 'held\n'
    late = subprocess.run(
      [*command, str(second)], capture_output=True, text=True, input=''
    )
    assert late.stdout == (
      f'The arm left must have one user: process {holder.pid} has it.\n'
    )
    holder.stdin.close()
    holder.wait(timeout=20)
    later = subprocess.run(
      [*command, str(second)], capture_output=True, text=True, input=''
    )
    assert later.stdout == 'held\n', later.stderr


def test_a_number_that_nobody_has_is_not_named(tmp_path):
  with lock_folder(tmp_path):
    (tmp_path / 'lock').write_text('99999999 ' + lock_lib.socket.gethostname())
    with pytest.raises(LockedError, match='another process has it'):
      lock_folder(tmp_path)
    (tmp_path / 'lock').write_text('7 node3\n')
    with pytest.raises(LockedError, match='process 7 of the host node3 has it'):
      lock_folder(tmp_path)


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


def test_a_folder_that_cannot_be_written_is_refused_by_name(tmp_path):
  (tmp_path / 'file').touch()
  folder = tmp_path / 'file' / 'a'
  with pytest.raises(OSError, match=f'--out must be .* written: {folder}: Not'):
    lock_lib.lock_if_possible(folder, '--out', print)
