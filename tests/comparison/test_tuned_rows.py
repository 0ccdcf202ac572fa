"""Rows that train the VLA: their runs, gates and refusals."""

import dataclasses
import json

import pytest

from rlt_jax.comparison import compare, rows, runs
from tests.comparison.fake_runs import FakeFinetuning, FakeRun

CHECK_PARTS = runs.check_parts


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  monkeypatch.setattr(runs, 'PracticeRun', FakeRun)
  monkeypatch.setattr(
    runs.methods,
    'open_run',
    lambda finetuning, **rest: FakeFinetuning(finetuning=finetuning, **rest),
  )
  monkeypatch.setattr(runs, 'check_parts', lambda row, config, assets: None)
  for name, value in (('log', []), ('diverge', ''), ('stop', '')):
    monkeypatch.setattr(FakeRun, name, value)


def make(folder, names, *, seeds=(0,), resume=False):
  return compare.Comparison(
    workdir=folder,
    rows=rows.find(names),
    make_config=lambda row: rows.make_config(row, 5),
    seeds=seeds,
    resume=resume,
  )


def table(folder):
  return json.loads((folder / 'comparison.json').read_text('utf-8'))['rows']


def gates_of(folder):
  (row,) = table(folder)
  return {k: x['passed'] for k, x in row['gates'].items()}


def test_a_row_that_trains_the_vla_stands_beside_the_others(tmp_path):
  make(tmp_path, ['rlt', 'dagger'], resume=True).run()
  assert FakeRun.log == ['rlt/seed-0', 'dagger/seed-0']
  _, dagger = table(tmp_path)
  assert dagger['points']['mean@5']['success'] == 0.9
  assert dagger['finetuning']['driver'] == 'agent'
  # There is no agent that could leave the warm-up.
  assert 'leaves_warmup' not in dagger['gates']
  assert all(gate['passed'] for gate in dagger['gates'].values())
  text = (tmp_path / 'comparison.md').read_text('utf-8')
  assert '| dagger | 30 | 0 | 0 | 0 | 1500 | 0.75 |' not in text
  assert '| dagger | 30 | 0 | 0 | 0 | 1500 | 0 | 2 |' in text
  assert '`finetuning.kept=corrections`' in text


@pytest.mark.parametrize(
  'changes, failed',
  [
    ({'stretches': 9}, 'enough_collected'),
    ({'losses': {'collected': 1.0, 'demonstrations': 1.0}}, 'loss_falls'),
    ({'losses': {'demonstrations': 1.0}}, 'loss_falls'),
    (
      {'losses': {'collected': 0.5, 'demonstrations': 1.11}},
      'keeps_demonstrations',
    ),
    # 5 of 20 has an interval that ends at 0.47, below 10 of 20.
    ({'final': 5}, 'not_below_start'),
  ],
)
def test_each_gate_can_fail(tmp_path, monkeypatch, changes, failed):
  for name, value in changes.items():
    monkeypatch.setattr(FakeFinetuning, name, value)
  make(tmp_path, ['filtered_imitation'], resume=True).run()
  found = gates_of(tmp_path)
  assert [name for name, passed in found.items() if not passed] == [failed]


def test_success_within_the_interval_is_not_below(tmp_path, monkeypatch):
  monkeypatch.setattr(FakeFinetuning, 'final', 6)  # to 0.52
  make(tmp_path, ['filtered_imitation'], resume=True).run()
  assert gates_of(tmp_path)['not_below_start']


def test_a_gate_without_the_evaluation_before_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(
    FakeFinetuning, 'report', _without_start(FakeFinetuning.report)
  )
  with pytest.raises(compare.RefusedError, match='no evaluation base10@0'):
    make(tmp_path, ['dagger'], resume=True).run()


def _without_start(report):
  def write(self):
    report(self)
    path = self.experiment.workdir / 'evaluations.json'
    stored = json.loads(path.read_text('utf-8'))
    del stored['base10@0']
    path.write_text(json.dumps(stored), 'utf-8')

  return write


def test_a_stopped_run_goes_on_and_a_finished_one_is_skipped(tmp_path):
  FakeRun.stop = 'dagger/seed-1'
  comparison = make(tmp_path, ['dagger'], seeds=(0, 1), resume=True)
  with pytest.raises(KeyboardInterrupt):
    comparison.run()
  assert comparison.is_saved()
  make(tmp_path, ['dagger'], seeds=(0, 1), resume=True).run()
  assert FakeRun.log == [
    'dagger/seed-0', 'dagger/seed-1', 'dagger/seed-1 resumed',
  ]  # fmt: skip


def test_other_settings_of_the_training_are_refused(tmp_path, monkeypatch):
  make(tmp_path, ['dagger'], resume=True).run()
  row = rows.ROWS['dagger']
  method = dataclasses.replace(row.finetuning, steps=7)
  changed = dataclasses.replace(row, finetuning=method)
  monkeypatch.setitem(rows.ROWS, 'dagger', changed)
  with pytest.raises(ValueError, match=r'has finetuning.steps=1500, not 7'):
    make(tmp_path, ['dagger'], resume=True)


def test_a_run_of_another_vla_is_refused(tmp_path, monkeypatch):
  make(tmp_path, ['rlt'], resume=True).run()
  monkeypatch.setattr(FakeFinetuning, 'vla', 'v2')
  with pytest.raises(compare.RefusedError, match="same VLA and token.*'v1'"):
    make(tmp_path, ['dagger'], resume=True).run()


@pytest.mark.parametrize(
  'name', ['dagger', 'hg_dagger', 'filtered_imitation', 'recap']
)
@pytest.mark.parametrize(
  'vla', ['ws://127.0.0.1:8000', 'openpi:pi0:checkpoint']
)
def test_a_vla_whose_weights_are_not_here_is_refused(name, vla):
  config = rows.make_config(rows.ROWS[name], 5, vla=vla)
  with pytest.raises(ValueError, match='needs the weights of a pi_small VLA'):
    CHECK_PARTS(rows.ROWS[name], config, '')


def test_the_person_helps_where_corrections_are_learned_from():
  for row in rows.ROWS.values():
    if row.finetuning is not None:
      minutes = rows.make_config(row, 5).human.help_minutes
      kept = {0.0: ['successes'], 1.5: ['corrections', 'episodes']}[minutes]
      assert row.finetuning.kept in kept, row.name


@pytest.mark.parametrize('rank, passed', [(0.51, True), (0.5, False)])
def test_a_value_must_rank_held_out_episodes(
  tmp_path, monkeypatch, rank, passed
):
  monkeypatch.setattr(FakeFinetuning, 'value', {'rank': rank})
  make(tmp_path, ['recap'], resume=True).run()
  assert gates_of(tmp_path)['value_ranks'] == passed


def test_a_value_that_was_not_fitted_fails(tmp_path):
  make(tmp_path, ['recap'], resume=True).run()
  assert not gates_of(tmp_path)['value_ranks']
