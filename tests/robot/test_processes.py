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
  assert f'The learner ended with 3 (see {log}): restart 1 of 3.' in output
  assert 'restart 3 of 3' in output


_SLEEP = """
import pathlib, signal, sys, time
def end(signum, frame):
  pathlib.Path(sys.argv[1]).open('a').write(sys.argv[2] + ' ')
  raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_the_loop_ends_first_when_the_run_is_interrupted(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  order = tmp_path / 'order'
  server = Process('VLA', [*python(_SLEEP), str(order), 'server'],
                   tmp_path / 'log')  # fmt: skip

  def interrupt():
    wait_for(lambda: pathlib.Path('loop').exists())
    wait_for(lambda: pathlib.Path('server').exists())
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=interrupt)
  thread.start()
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyboardInterrupt):
    processes.run_loop([*python(_SLEEP), str(order), 'loop'], [server])
  thread.join()
  assert order.read_text().split() == ['loop', 'server']
  assert signal.getsignal(signal.SIGTERM) is before


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
