"""Real-time priority and stolen time."""

import os
import threading

import pytest

from rlt_jax.robot import realtime


def test_the_priority_is_reported_and_threads_inherit_it():
  seen = []

  def work():
    granted = realtime.request_priority()  # of this thread alone
    child = threading.Thread(
      target=lambda: seen.append(
        (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))
      )
    )
    child.start()
    child.join()
    seen.append(granted)

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  (policy, nice), granted = seen
  if granted.startswith('SCHED_FIFO'):
    assert policy == os.SCHED_FIFO
  elif granted.startswith('nice'):
    assert nice == int(granted.split()[1])
  else:
    assert granted == 'none' and policy == os.SCHED_OTHER


def test_a_host_that_allows_nothing_is_no_error(monkeypatch):
  def refuse(*args):
    raise PermissionError(1, 'Operation not permitted')

  monkeypatch.setattr(os, 'sched_setscheduler', refuse)
  monkeypatch.setattr(os, 'setpriority', refuse)
  assert realtime.request_priority() == 'none'


def test_the_stolen_share(tmp_path, monkeypatch):
  path = tmp_path / 'stat'
  monkeypatch.setattr(realtime, '_CPU', str(path))
  assert realtime.read_stolen() is None
  path.write_text('cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1\n')
  before = realtime.read_stolen()
  assert before == (10, 100)
  path.write_text('cpu  30 0 20 110 0 0 0 40 5 0\ncpu0 1\n')
  share = realtime.stolen_share(before, realtime.read_stolen())
  assert share == pytest.approx(0.3)
  assert realtime.stolen_share(None, before) is None
  assert realtime.stolen_share(before, before) is None
