"""Processes beside the loop: restarted, and ended after it."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from rlt_jax.robot import processes
from rlt_jax.robot.processes import Process, Supervisor


def python(code):
  return [sys.executable, '-c', code]


def wait_for(condition, timeout_s=20.0):
  deadline = time.monotonic() + timeout_s
  while not condition():
    assert time.monotonic() < deadline, 'nothing happened'
    time.sleep(0.02)


def text(path):
  return path.read_text() if path.exists() else ''


def test_a_process_that_dies_is_restarted_three_times(tmp_path, capsys):
  log = tmp_path / 'learner.log'
  process = Process('learner', python('print("started"); raise SystemExit(3)'),
                    log)  # fmt: skip
  with Supervisor([process]) as supervisor:

    def checked():
      supervisor.check()
      return text(log).count('started') == 4

    wait_for(checked)
    time.sleep(0.3)
    supervisor.check()
  assert text(log).count('started') == 4
  output = capsys.readouterr().out
  assert (
    f'The learner ended with 3 (see {log}, which ends with: started): '
    'restart 1 of 3.'
  ) in output
  assert 'restart 3 of 3' in output
  assert output.count('it is not started again') == 1


_SLEEP = """
import pathlib, signal, sys, time
def end(signum, frame):
  pathlib.Path(sys.argv[1]).open('a').write(sys.argv[2] + ' ')
  raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP', 'SIGINT'])
def test_the_loop_ends_first_when_the_run_is_interrupted(
  tmp_path, monkeypatch, name
):
  monkeypatch.chdir(tmp_path)
  order, number = tmp_path / 'order', getattr(signal, name)
  server = Process('VLA', [*python(_SLEEP), str(order), 'server'],
                   tmp_path / 'log')  # fmt: skip

  def interrupt():
    wait_for(lambda: pathlib.Path('loop').exists())
    wait_for(lambda: pathlib.Path('server').exists())
    for _ in range(4):  # the first counts
      os.kill(os.getpid(), number)
      time.sleep(0.01)

  thread = threading.Thread(target=interrupt)
  thread.start()
  before = signal.getsignal(number)
  with pytest.raises(KeyboardInterrupt, match=name):
    processes.run_loop([*python(_SLEEP), str(order), 'loop'], [server])
  thread.join()
  assert order.read_text().split() == ['loop', 'server']
  assert signal.getsignal(number) is before


_CELL = """
import sys
from rlt_jax.robot import processes
from tests.robot.test_processes import _SLEEP, python
order = sys.argv[1]
server = processes.Process(
  'VLA', [*python(_SLEEP), order, 'server'], processes.pathlib.Path('log')
)
processes.run_loop([*python(_SLEEP), order, 'loop'], [server])
"""


def test_all_processes_end_with_their_parent(tmp_path, monkeypatch):
  root = str(pathlib.Path(__file__).parents[2])
  monkeypatch.setenv('PYTHONPATH', root)
  order = tmp_path / 'order'
  cell = subprocess.Popen([*python(_CELL), str(order)], cwd=tmp_path)
  wait_for(lambda: (tmp_path / 'loop').exists())
  wait_for(lambda: (tmp_path / 'server').exists())
  cell.kill()
  cell.wait()
  wait_for(lambda: sorted(text(order).split()) == ['loop', 'server'])


def test_how_a_process_ended_is_said_in_words():
  assert processes.describe(-9) == 'was killed by SIGKILL'
  assert processes.describe(3) == 'ended with 3'


def test_the_status_is_the_loops_and_the_others_end_with_it(tmp_path):
  out = tmp_path / 'out'
  code = (
    f'import os; open({str(out)!r}, "w").write(os.environ["EXTRA"]); exit(5)'
  )
  server = Process('VLA', ['sleep', '60'], tmp_path / 'log')
  began = time.monotonic()
  status = processes.run_loop(python(code), [server], env={'EXTRA': 'x'})
  assert status == 5 and out.read_text() == 'x'
  assert time.monotonic() - began < 30.0


def test_a_process_that_does_not_end_is_killed(tmp_path, monkeypatch):
  monkeypatch.setattr(processes, '_END_TIMEOUT_S', 0.3)
  ready = tmp_path / 'ready'
  code = (
    'import signal, pathlib, time; '
    'signal.signal(signal.SIGTERM, signal.SIG_IGN); '
    f'pathlib.Path({str(ready)!r}).touch(); time.sleep(60)'
  )
  process = subprocess.Popen(python(code))
  wait_for(ready.exists)
  assert processes.end(process) == -signal.SIGKILL


def test_a_free_port_can_be_bound():
  port = processes.free_port()
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', port))


_PREALLOCATE = 'XLA_PYTHON_CLIENT_PREALLOCATE'


@pytest.mark.parametrize('own, expected', [(None, 'false'), ('true', 'true')])
def test_processes_share_a_gpu_unless_the_user_says_how(
  tmp_path, monkeypatch, own, expected
):
  monkeypatch.delenv(_PREALLOCATE, raising=False)
  if own is not None:
    monkeypatch.setenv(_PREALLOCATE, own)
  said = tmp_path / 'said'
  tell = f'import os; print(os.environ[{_PREALLOCATE!r}])'
  command = python(f"{tell}; open({str(said)!r}, 'w').write('ended')")
  service = Process('server', command, tmp_path / 'log')
  loop = python(f'{tell}; assert os.environ[{_PREALLOCATE!r}] == {expected!r}')
  with Supervisor([service]):
    wait_for(said.exists)
  assert text(tmp_path / 'log') == f'{expected}\n'
  assert processes.run_loop(loop, []) == 0
