"""Signals, in the process and as a shell sends them to a command."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from rlt_jax import signals
from tests.giving_up import given_up


@pytest.mark.parametrize('signum', signals.SIGNALS)
def test_a_signal_is_remembered_until_it_is_asked_for(signum, capfd):
  before = signal.getsignal(signum)
  with signals.StopRequest('after this step') as stop:
    stop.raise_if_stopped()
    assert not stop.requested
    signal.raise_signal(signum)
    assert stop.requested
    with pytest.raises(signals.Stopped, match=signum.name) as stopped:
      stop.raise_if_stopped()
  assert stopped.value.signum == signum
  assert signal.getsignal(signum) == before
  assert (
    capfd.readouterr().err == f'\n{signum.name}: stopping after this step.\n'
  )


def test_a_second_signal_does_not_end_the_saving(capfd):
  with signals.StopRequest('soon') as stop:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(signals.Stopped) as stopped:
      stop.raise_if_stopped()
  assert stopped.value.signum == signal.SIGTERM
  assert capfd.readouterr().err.count('still stopping') == 2


@pytest.mark.parametrize('signum', signals.SIGNALS)
def test_a_command_is_interrupted_by_each(signum):
  with pytest.raises(KeyboardInterrupt, match=signum.name):
    with signals.as_interrupt():
      signal.raise_signal(signum)


class Callback:
  """Its end is a callback: what is raised there goes nowhere."""

  def __del__(self):
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_signal_that_python_loses_is_found():
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    with signals.as_interrupt():
      Callback()
      with signals.StopRequest('soon') as stop:
        stop.raise_if_stopped()
        pytest.fail('the signal is lost')
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    with signals.as_interrupt():
      Callback()
  with signals.as_interrupt(), signals.StopRequest('soon') as stop:
    assert not stop.requested


def test_what_is_ignored_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
  try:
    with signals.as_interrupt(), signals.StopRequest('soon') as stop:
      signal.raise_signal(signal.SIGHUP)
      stop.raise_if_stopped()
      assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_call_gives_what_its_function_gives():
  with signals.StopRequest('soon') as stop:
    assert stop.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
      stop.call(divmod, 7, 0)


def test_a_call_is_given_up_at_once():
  end = threading.Event()
  with signals.StopRequest('soon') as stop:
    threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()
    start = time.monotonic()
    with pytest.raises(signals.Stopped):
      stop.call(end.wait, 30)
    assert time.monotonic() - start < 5
    with pytest.raises(signals.Stopped):  # nor is another begun
      stop.call(pytest.fail, 'called')
  end.set()


_COMMAND = """
import os, threading
from rlt_jax import signals
try:
  with signals.as_interrupt(), signals.StopRequest('now') as stop:
    os.kill(os.getpid(), 15)
    stop.call(threading.Event().wait)
except KeyboardInterrupt as stopped:
  print('saved')
  signals.leave(stopped)
"""


def test_a_single_call_is_given_up_too():
  assert signals.call(divmod, 7, 2) == (3, 1)
  before = signal.getsignal(signal.SIGTERM)
  with given_up() as compiling:
    signals.call(compiling)
  assert signal.getsignal(signal.SIGTERM) == before


def test_the_process_ends_with_a_call_that_never_does():
  command = _COMMAND.replace(
    'os.kill(os.getpid(), 15)', 'print("ready", flush=True)'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', command], stdout=subprocess.PIPE
  )
  assert process.stdout.readline() == b'ready\n'
  process.send_signal(signal.SIGHUP)
  assert process.communicate(timeout=20)[0] == b'saved\n'
  assert process.returncode == 128 + signal.SIGHUP


def test_the_status_is_that_of_the_signal():
  done = subprocess.run(
    [sys.executable, '-c', _COMMAND], capture_output=True, check=False
  )
  assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, b'saved\n')
  assert os.path.basename(sys.executable).encode() not in done.stderr
