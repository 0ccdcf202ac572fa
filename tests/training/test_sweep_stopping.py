"""Sweeps that are stopped or damaged, with a loop that computes nothing."""

import shutil
import signal

import chex
import pytest

from rlt_jax import signals
from rlt_jax.export import checkpoint
from rlt_jax.reporting import metrics
from tests.training.fake_run import Events, STEP
from tests.training.fake_sweep import CONFIG, maker, SEEDS


@pytest.fixture(scope='module')
def make():
  """Returns a function that makes a sweep."""
  with pytest.MonkeyPatch.context() as patch:
    yield maker(patch)


@pytest.fixture(scope='module')
def whole(tmp_path_factory, make):
  return _finished(make, tmp_path_factory.mktemp('runs') / 'whole')


def _newest(run):
  return [checkpoint.latest(one.workdir) for one in run.runs]


def _finished(make, workdir, **kwargs):
  run = make(workdir, **kwargs)
  run.practice()
  run.close()
  return run


def _check_same(run, other):
  chex.assert_trees_all_equal(run.state, other.state)
  for one, two in zip(run.runs, other.runs, strict=True):
    rows = [metrics.read_metrics(x.workdir) for x in (one, two)]
    steps = [[row['env_steps'] for row in x] for x in rows]
    assert steps[0] == steps[1]
    assert one.record.data.keys() == two.record.data.keys()


@pytest.mark.parametrize('count', [1, 4])
def test_a_signal_in_a_round_saves_all_seeds_after_it(
  tmp_path, make, whole, count
):
  events = Events()
  events.on('round', count, lambda: signal.raise_signal(signal.SIGTERM))
  run = make(tmp_path / 'a', events=events)
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    run.practice()
  assert run.is_saved() and _newest(run) == [STEP * (count + 1)] * len(SEEDS)
  assert events.log.count('round') == count
  run.close()
  _check_same(_finished(make, tmp_path / 'a', resume=True), whole)


def test_a_damaged_newest_checkpoint_of_a_seed_has_one_before_it(
  tmp_path, make, whole, capsys
):
  assert _newest(whole) == [CONFIG.num_env_steps] * len(SEEDS)
  shutil.copytree(whole.workdir, tmp_path / 'a')
  newest = f'checkpoints/{CONFIG.num_env_steps}'
  (tmp_path / f'a/seed-{SEEDS[1]}' / newest / 'meta.json').unlink()
  resumed = make(tmp_path / 'a', resume=True)
  assert 'The one before it is whole and is taken' in capsys.readouterr().err
  resumed.practice()
  resumed.close()
  _check_same(resumed, whole)
