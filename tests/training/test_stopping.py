"""Runs that are stopped, with a loop that computes nothing."""

import dataclasses
import json
import os
import signal
import threading
import time

import chex
import pytest

from rlt_jax import lock, signals
from rlt_jax.export import checkpoint
from rlt_jax.reporting import metrics
from tests.training import kill_worker
from tests.training.fake_run import CONFIG, Events, FakeLoop, maker, STEP


@pytest.fixture(scope='module')
def make():
  """Returns a function that makes a run."""
  with pytest.MonkeyPatch.context() as patch:
    yield maker(patch)


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, make):
  run = make(tmp_path_factory.mktemp('runs') / 'unbroken')
  run.practice()
  run.close()
  return run


def _check_same(run, unbroken):
  chex.assert_trees_all_equal(run.state, unbroken.state)
  assert _stored(run) == _stored(unbroken)


def _stored(run):
  """Returns evaluations and metrics, without what depends on the clock."""
  record = dict(run.experiment.record.data)
  rows = metrics.read_metrics(run.experiment.workdir)
  for row in rows:
    del row['updates_per_s']
  return record | {'seconds': sorted(record['seconds'])}, rows


def _hang():
  """A long compilation that a signal interrupts."""
  os.kill(os.getpid(), signal.SIGTERM)
  threading.Event().wait(20)


_MOMENTS = [
  ('init', 1, False),
  ('compile', 1, True),
  ('evaluation', 1, False),
  ('evaluation', 3, True),
  ('evaluation', 5, True),
]


@pytest.mark.parametrize('name, count, saved', _MOMENTS)
def test_a_signal_ends_what_takes_long_at_once(
  tmp_path, make, unbroken, name, count, saved
):
  events = Events()
  events.on(name, count, _hang)
  run = make(tmp_path / 'a', events=events)
  start = time.monotonic()
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    run.practice()
  assert time.monotonic() - start < 10
  run.close()
  assert run.is_saved() == saved
  resumed = make(tmp_path / 'a', resume=saved)
  resumed.practice()
  _check_same(resumed, unbroken)


@pytest.mark.parametrize(
  'signum, count',
  [(signal.SIGINT, 1), (signal.SIGTERM, 4), (signal.SIGHUP, 11)],
)
def test_a_round_is_completed_and_saved(
  tmp_path, make, unbroken, signum, count
):
  events = Events()
  events.on('round', count, lambda: signal.raise_signal(signum))
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(signals.Stopped, match=signum.name):
    run.practice()
  run.close()
  assert events.log.count('round') == count
  assert checkpoint.latest(tmp_path / 'a') == STEP * (count + 1)
  resumed = make(tmp_path / 'a', resume=True)
  resumed.practice()
  _check_same(resumed, unbroken)


def test_a_second_signal_ends_nothing(tmp_path, make, unbroken, monkeypatch):
  events = Events()

  def twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)

  events.on('round', 3, twice)
  save = checkpoint.save

  def interrupted(*args, **kwargs):
    signal.raise_signal(signal.SIGTERM)  # and once more, while it saves
    return save(*args, **kwargs)

  run = make(tmp_path / 'a', events=events)
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint, 'save', interrupted)
    with pytest.raises(signals.Stopped, match='SIGINT'):
      run.practice()
  run.close()
  assert checkpoint.latest(tmp_path / 'a') == 4 * STEP
  resumed = make(tmp_path / 'a', resume=True)
  resumed.practice()
  _check_same(resumed, unbroken)


def test_a_run_without_a_checkpoint_begins_again(tmp_path, make, unbroken):
  events = Events()
  events.on('evaluation', 1, _hang)
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(signals.Stopped):
    run.practice()
  run.close()
  assert not run.is_saved() and (tmp_path / 'a' / 'config.json').exists()
  with pytest.raises(ValueError, match='has none. Without --resume it begins'):
    make(tmp_path / 'a', resume=True)
  # With other settings, too: nothing of the old ones stays.
  other = dataclasses.replace(CONFIG, seed=1)
  again = make(tmp_path / 'a', config=other)
  assert json.loads((tmp_path / 'a' / 'config.json').read_text())['seed'] == 1
  again.practice()
  _check_same(again, unbroken)


def test_a_state_that_a_fault_consumed_is_not_saved(tmp_path, make, unbroken):
  events = Events()

  def fail():
    raise MemoryError('no memory')

  events.on('round', 6, fail)
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(MemoryError):
    run.practice()
  with pytest.raises(RuntimeError, match='resumed from its last checkpoint'):
    run.save()
  run.close()
  resumed = make(tmp_path / 'a', resume=True)
  resumed.practice()
  _check_same(resumed, unbroken)


@pytest.mark.parametrize('count', [4, 10])
def test_a_damaged_checkpoint_costs_only_time(
  tmp_path, make, unbroken, count, capfd
):
  events = Events()
  events.on('round', count, lambda: signal.raise_signal(signal.SIGTERM))
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(signals.Stopped):
    run.practice()
  run.close()
  found = checkpoint.latest(tmp_path / 'a')
  (tmp_path / 'a' / 'checkpoints' / str(found) / 'meta.json').write_text('{')
  if count == 4:  # there is no other
    with pytest.raises(checkpoint.DamagedError, match='no whole one'):
      make(tmp_path / 'a', resume=True)
    return
  resumed = make(tmp_path / 'a', resume=True)
  assert f'damaged-{found}' in capfd.readouterr().err
  resumed.practice()
  _check_same(resumed, unbroken)


def test_a_resumed_run_knows_what_the_one_before_it_measured(
  tmp_path, make, unbroken
):
  events = Events()
  events.on('evaluation', 4, _hang)  # all rounds are done
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(signals.Stopped):
    run.practice()
  run.experiment.seconds['practice_s'] = 100.0
  run.experiment.keep_seconds()
  run.close()
  resumed = make(tmp_path / 'a', resume=True)
  resumed.practice()
  last = metrics.read_metrics(tmp_path / 'a')[-1]
  assert resumed.experiment.latest_metrics['beta_ratio'] == last['beta_ratio']
  expected = unbroken.experiment.latest_metrics['beta_ratio']
  assert last['beta_ratio'] == expected
  assert resumed.experiment.seconds['practice_s'] >= 100.0


def test_a_second_run_is_refused_while_the_first_is_open(tmp_path, make):
  run = make(tmp_path / 'a')
  with pytest.raises(lock.LockedError, match='must have one user'):
    make(tmp_path / 'a')
  run.close()
  make(tmp_path / 'a').close()


def test_a_full_disk_is_said_and_nothing_is_lost(
  tmp_path, make, unbroken, monkeypatch
):
  run = make(tmp_path / 'a')
  with monkeypatch.context() as patch:

    def full(*_, **__):
      raise ValueError("RESOURCE_EXHAUSTED [os_error_code='28']")

    events = Events()
    events.on('round', 8, lambda: patch.setattr(checkpoint, '_write', full))
    run.loop = FakeLoop(events)
    with pytest.raises(checkpoint.SaveError, match='No space left on device'):
      run.practice()
  run.close()
  assert run.is_saved()
  resumed = make(tmp_path / 'a', resume=True)
  resumed.practice()
  _check_same(resumed, unbroken)


@pytest.mark.skipif(
  'RLT_JAX_SLOW' not in os.environ,
  reason='RLT_JAX_SLOW=1 runs it: a dozen processes that are killed',
)
def test_a_killed_run_ends_where_the_unbroken_one_does(tmp_path):
  found = kill_worker.campaign(tmp_path, kills=12, seed=0)
  assert found.same and found.kills == 12
