import dataclasses
import functools
import json
import shutil

import chex
import jax
import numpy as np
import pytest

from rlt_jax import lock
from rlt_jax.export import checkpoint
from rlt_jax.reporting import definitions, metrics
from rlt_jax.training import policies, policy_export, practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.run_folder import Record
from tests.training.conftest import write_assets


def _run(workdir, config, assets, *, resume=False):
  return practice_run.PracticeRun(
    workdir=workdir, config=config, resume=resume, assets=str(assets)
  )


@pytest.fixture(scope='module', autouse=True)
def made_once(config, assets):
  """One setup serves all runs with these assets: tracing it takes long."""
  make = setup_lib.make
  setup = functools.cache(functools.partial(make, config, str(assets)))

  def find(other, folder):
    return setup() if folder == str(assets) else make(other, folder)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(setup_lib, 'make', find)
    yield


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, config, assets):
  run = _run(tmp_path_factory.mktemp('runs') / 'a', config, assets)
  run.practice()
  return run


def test_every_key_of_the_metrics_file_is_documented(unbroken):
  rows = metrics.read_metrics(unbroken.experiment.workdir)
  assert {name for row in rows for name in row} <= metrics.METRICS.keys()
  assert {'beta_ratio', 'success', 'phase'} <= rows[-1].keys()


def test_practice_spends_its_robot_time_and_learns_at_the_stated_ratio(
  unbroken, config
):
  state = unbroken.state
  # A round may end past the budget, by less than one chunk of all robots.
  assert 0 <= state.env_steps - config.num_env_steps < 2 * config.chunk_size
  num_updates = int(state.learner.agent.critic_updates)
  assert (
    num_updates + state.learner.pending_updates
    == config.utd_ratio * state.learner.rows
  )
  assert num_updates == 2 * int(state.learner.agent.actor_updates)
  assert int(state.learner.replay.size) == state.learner.rows
  # 40-step time-outs store every second step but the last chunk's four.
  assert 0.3 < state.learner.rows / state.env_steps <= 0.5


def _check_order(text, phases):
  """Every phase says in a line what comes next."""
  for phase in phases:
    _, found, text = text.partition(phase)
    assert found, phase


def test_a_resumed_run_ends_where_the_unbroken_one_does(
  tmp_path, unbroken, config, assets, capsys
):
  broken = _run(tmp_path / 'b', config, assets)
  # Dies between two checkpoints: what came after the first is repeated.
  broken._on_round = _die_at(broken, 220)
  with pytest.raises(RuntimeError, match='power cut'):
    broken.practice()
  assert checkpoint.latest(tmp_path / 'b') < 220
  with pytest.raises(lock.LockedError, match='must have one user'):
    _run(tmp_path / 'b', config, assets, resume=True)
  with pytest.raises(ValueError, match='has a run with the checkpoint'):
    _run(tmp_path / 'b', config, assets)
  broken.close()
  resumed = _run(tmp_path / 'b', config, assets, resume=True)
  resumed.practice()
  _check_order(
    capsys.readouterr().out,
    ['Evaluating the VLA', 'Starting practice', 'Evaluating without and with',
     'Opening the checkpoint', 'Starting practice', 'mean policy'],
  )  # fmt: skip
  chex.assert_trees_all_equal(resumed.state, unbroken.state)
  stored = unbroken.experiment.record.data
  for name in ('base', 'mean@0.05', 'exploring@0.1'):
    assert resumed.experiment.record.data[name] == stored[name]
  lines = (tmp_path / 'b' / 'metrics.jsonl').read_text().splitlines()
  steps = [json.loads(line)['env_steps'] for line in lines]
  assert steps == sorted(set(steps))


def _die_at(run, steps):
  on_round = run._on_round

  def die(state, metrics):
    on_round(state, metrics)
    if state.env_steps >= steps:
      raise RuntimeError('power cut')

  return die


def test_the_report_has_the_promised_figures(unbroken, config):
  unbroken.report()
  report = json.loads((unbroken.experiment.workdir / 'report.json').read_text())
  wanted = {
    'episodes', 'success', 'success_low', 'success_high', 'median_steps',
    'throughput_per_10min',
  }  # fmt: skip
  for name in ('base', 'demonstrations', 'final'):
    assert wanted <= report[name].keys()
  assert set(definitions.names(report)) <= definitions.DEFINITIONS.keys()
  assert report['diverged_worlds'] == 0 and 'mujoco' in report['versions']
  practice, last = (
    report['practice'],
    metrics.read_metrics(unbroken.experiment.workdir)[-1],
  )
  assert practice['critic_updates'] == last['critic_updates'] > 0
  # Untrained, episodes of 40 steps meet the time limit.
  assert practice['episodes'] == practice['outcomes']['time_out'] >= 6
  minutes = [point['robot_minutes'] for point in report['along']]
  assert minutes == [0.0, 0.05, 0.1]
  assert all(wanted <= point.keys() for point in report['along'])
  for name in ('report.md', 'film.gif', 'steps.png', 'learning.png'):
    assert (unbroken.experiment.workdir / name).stat().st_size > 0


def test_the_report_has_the_diagnosis_of_beta(unbroken):
  report = json.loads((unbroken.experiment.workdir / 'report.json').read_text())
  last = metrics.read_metrics(unbroken.experiment.workdir)[-1]
  after, final = report['beta']['after_warmup'], report['beta']['final']
  variance = after['reference_variance']
  assert (
    final['ratio']
    == last['beta_ratio']
    == pytest.approx(last['beta_term'] / last['q_mean'], rel=0.2)
  )  # a mean of ratios, and a ratio of means
  assert final['distance'] == pytest.approx(
    last['reference_distance'] / variance
  )
  assert final['ratio'] != after['ratio']


def test_the_report_has_what_the_critics_are_worth(unbroken, config):
  folder = unbroken.experiment.workdir
  found = json.loads((folder / 'report.json').read_text())['q']
  steps = found['env_steps']
  assert len(steps) == 3  # the hand-over, the mark at 150 steps, the end
  assert config.vla_warmup_steps < steps[0] < 150 <= steps[1] < 300 <= steps[2]
  assert {len(column) for column in found.values()} == {3}
  # Untrained, nothing succeeds.
  assert sum(found['episodes']) >= 6 and set(found['success']) == {0.0}
  assert found['rows_time_out'][-1] > 0 and not any(found['rows_success'])
  assert found['return_time_out'][-1] == 0.0
  assert all(0 <= x <= 1 for x in found['actor_above_reference'])
  assert all(-1 <= x <= 1 for x in found['cosine_params'])
  text = (folder / 'report.md').read_text()
  assert '## Is Q useful?' in text and '| q.cosine_params |' in text


def test_diagnosing_changes_nothing_that_is_learned(unbroken, config):
  loop = unbroken.loop
  silent = loop.run(loop.init(), config.num_env_steps, lambda *_: None)
  chex.assert_trees_all_equal(silent, unbroken.state)


def _listing(folder):
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in [folder, *folder.rglob('*')]
  }


def test_the_policies_of_a_run_are_those_that_it_evaluated(
  unbroken, config, assets
):
  workdir = unbroken.experiment.workdir
  before = _listing(workdir)
  found = policies.of_run(workdir, str(assets), config.eval_seed)
  assert _listing(workdir) == before  # reading a run writes nothing
  assert list(found.policies) == ['mean', 'exploring']
  assert f'{unbroken.state.env_steps} control steps' in found.about
  episodes, _ = found.evaluator.run(found.policies['mean'], 2)
  stored = unbroken.experiment.record.episodes('mean@0.1')
  np.testing.assert_array_equal(episodes.steps, stored.steps)
  np.testing.assert_array_equal(episodes.outcome, stored.outcome)


def test_reading_a_run_changes_nothing_in_its_folder(unbroken, assets):
  folder = unbroken.experiment.workdir

  def stamps():
    found = [folder, *folder.rglob('*')]
    return {path: path.stat().st_mtime_ns for path in found}

  before = stamps()
  policies.of_run(folder, str(assets), 0)
  source = policy_export.from_run(folder, str(assets))
  assert source.env_steps == unbroken.state.env_steps
  chex.assert_trees_all_equal(source.policy, unbroken.state.policy)
  assert stamps() == before


def test_a_horizon_that_does_not_fit_is_refused(config, assets):
  with pytest.raises(ValueError, match='open_loop_steps must be a multiple'):
    policies.of_base(config, [20, 25], str(assets), 0)


def test_no_pairs_make_no_film(tmp_path, unbroken, config, monkeypatch):
  none = dataclasses.replace(config, num_eval_videos=0)
  monkeypatch.setattr(unbroken.experiment, 'config', none)
  monkeypatch.setattr(unbroken.experiment, 'workdir', tmp_path)
  unbroken.report()
  assert 'film.gif' not in (tmp_path / 'report.md').read_text()
  assert not (tmp_path / 'film.gif').exists()


def test_an_existing_workdir_is_refused(unbroken, config, assets):
  with pytest.raises(ValueError, match='must be new'):
    _run(unbroken.experiment.workdir, config, assets)


def test_resuming_with_other_settings_names_the_one_that_differs(
  unbroken, config, assets
):
  other = dataclasses.replace(config, gamma=0.9)
  with pytest.raises(ValueError, match='gamma'):
    _run(unbroken.experiment.workdir, other, assets, resume=True)


def test_a_finished_run_can_go_on_with_a_larger_budget(
  tmp_path, unbroken, config, assets
):
  folder = shutil.copytree(unbroken.experiment.workdir, tmp_path / 'run')
  longer = dataclasses.replace(config, num_env_steps=9000, num_eval_videos=0)
  run = _run(folder, longer, assets, resume=True)
  assert run.state.env_steps == unbroken.state.env_steps
  stored = (folder / 'config.json').read_text()
  assert json.loads(stored)['num_env_steps'] == 9000


def test_resuming_needs_a_checkpoint(tmp_path, config, assets):
  with pytest.raises(ValueError, match='needs a checkpoint'):
    _run(tmp_path, config, assets, resume=True)


def test_a_token_of_another_vla_is_refused(tmp_path, config, assets):
  other = write_assets(tmp_path / 'other', seed=1)
  (other / 'token').rename(tmp_path / 'unused')
  (other / 'token').symlink_to(assets / 'token')
  with pytest.raises(ValueError, match='trained on, fingerprint'):
    _run(tmp_path / 'run', config, other)
  assert not (tmp_path / 'run').exists()


def test_a_nan_from_the_vla_stops_the_run_by_name(
  tmp_path, unbroken, config, assets, monkeypatch
):
  run = _run(tmp_path / 'c', config, assets)
  state = unbroken.state
  poisoned = state.actors.features._replace(
    reference=np.full_like(state.actors.features.reference, np.nan)
  )
  state = state.replace(actors=state.actors.replace(features=poisoned))
  state = jax.tree.map(lambda x: x.copy() if hasattr(x, 'copy') else x, state)
  with pytest.raises(FloatingPointError, match='action_chunk'):
    run.loop.run(state, state.env_steps + 1, lambda *_: None)


def test_episodes_survive_their_file(tmp_path, unbroken):
  stored = unbroken.experiment.record.episodes('base')
  record = Record(tmp_path / 'x.json')
  record.put_episodes('base', stored)
  again = Record(tmp_path / 'x.json').episodes('base')
  np.testing.assert_array_equal(again.steps, stored.steps)
  np.testing.assert_array_equal(again.success, stored.success)
