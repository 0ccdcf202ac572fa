"""Rows run one after the other, are skipped, continued, and reported."""

import dataclasses
import json
import shutil
import types

import pytest

from rlt_jax import lock as lock_lib
from rlt_jax.comparison import compare, rows, runs
from tests.comparison import fake_runs
from tests.comparison.fake_runs import FakeRun

CHECK_PARTS = runs.check_parts


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  monkeypatch.setattr(runs, 'PracticeRun', FakeRun)
  monkeypatch.setattr(runs, 'check_parts', lambda row, config, assets: None)
  start = types.SimpleNamespace(run=lambda policy: fake_runs.BASE)
  monkeypatch.setattr(
    compare.start_gates, 'open_start', lambda config, assets: start
  )
  for name, value in (('log', []), ('diverge', ''), ('stop', '')):
    monkeypatch.setattr(FakeRun, name, value)


def make(folder, names, *, seeds=(0,), resume=False, changes=()):
  return compare.Comparison(
    workdir=folder,
    rows=rows.find(names),
    make_config=lambda row: rows.make_config(row, 5, changes=changes),
    seeds=seeds,
    resume=resume,
    command='python -m experiments.compare',
  )


def table(folder):
  return json.loads((folder / 'comparison.json').read_text('utf-8'))['rows']


def test_rows_and_seeds_run_and_are_reported(tmp_path):
  make(tmp_path / 'c', ['rlt', 'imitation'], seeds=(0, 3)).run()
  assert fake_runs.FakeRun.log == [
    'rlt/seed-0', 'rlt/seed-3', 'imitation/seed-0', 'imitation/seed-3',
  ]  # fmt: skip
  rlt, imitation = table(tmp_path / 'c')
  assert rlt['seeds'] == 2 and rlt['points']['mean@5']['success'] == 1.0
  assert rlt['gates']['stays_finite']['passed']
  # It fails its gate: 0 of 40 trials, where the VLA asked as often has 10 of
  # 20. The base of its report, 15 of 20, is asked less often.
  gate = imitation['gates']['not_below_base']
  assert not gate['passed'] and gate['numbers'] == {'base': 0.5, 'final': 0.0}
  text = (tmp_path / 'c' / 'comparison.md').read_text('utf-8')
  assert '| imitation | not_below_base | **fail** | base 0.5,' in text
  assert '| imitation | mean@5 | 40 | 0.00' in text  # it stays in the table
  # Seeds 0 and 3: 13 and 16 episodes, 0 and 3 failures, 3 time-outs each.
  assert '| imitation | 14.5 | 1.5 | 3 | 1000 | 0 | 0.75 | 2 |' in text
  assert '| rlt | – | – | – | – | – | 0 | 2 |' in text  # an older report
  assert (tmp_path / 'c' / 'comparison.png').stat().st_size > 1000


def test_methods_that_sample_are_judged_as_they_sample(tmp_path):
  make(tmp_path / 'c', ['hil_serl_10hz']).run()
  (row,) = table(tmp_path / 'c')
  assert row['policy'] == 'exploring'
  # 18 of 20; without noise it has 20.
  assert row['gates']['reaches_80']['numbers'] == {'final': 0.9}


def test_finished_runs_are_skipped_and_rows_may_be_added(tmp_path):
  make(tmp_path / 'c', ['rlt']).run()
  make(tmp_path / 'c', ['rlt', 'rlt_beta_0'], seeds=(0, 1), resume=True).run()
  assert FakeRun.log == [
    'rlt/seed-0', 'rlt/seed-1', 'rlt_beta_0/seed-0', 'rlt_beta_0/seed-1',
  ]  # fmt: skip
  assert [x['seeds'] for x in table(tmp_path / 'c')] == [2, 2]


def test_the_table_keeps_what_earlier_commands_ran(tmp_path):
  make(tmp_path / 'c', ['imitation']).run()
  make(tmp_path / 'c', ['rlt'], seeds=(3,), resume=True).run()
  make(tmp_path / 'c', ['rlt'], seeds=(5,), resume=True).run()
  assert [(x['name'], x['seeds']) for x in table(tmp_path / 'c')] == [
    ('rlt', 2), ('imitation', 1),
  ]  # fmt: skip
  with pytest.raises(ValueError, match='rlt/seed-3 has gamma=0.99, not'):
    make(tmp_path / 'c', ['dsrl'], resume=True, changes=['gamma=0.997'])


def test_processes_share_a_folder(tmp_path, capsys):
  folder = tmp_path / 'c'
  # Another process has the seed 1.
  with lock_lib.lock_folder(folder / 'claims' / 'rlt-1'):
    make(folder, ['rlt'], seeds=(0, 1, 2), resume=True).run()
    assert FakeRun.log == ['rlt/seed-0', 'rlt/seed-2']
    assert table(folder)[0]['seeds'] == 2
    assert 'Another process runs rlt/seed-1: the' in capsys.readouterr().out
    # A row that the other one finishes is in the table of this one.
    other = make(folder, ['imitation'], resume=True)
    make(folder, ['rlt_beta_0'], resume=True).run()
    other.run()
    assert [x['name'] for x in table(folder)] == [
      'rlt', 'rlt_beta_0', 'imitation',
    ]  # fmt: skip
  make(folder, ['rlt'], seeds=(1,), resume=True).run()
  assert table(folder)[0]['seeds'] == 3


def test_a_table_of_no_ended_run_is_empty(tmp_path):
  with lock_lib.lock_folder(tmp_path / 'claims' / 'rlt-0'):
    make(tmp_path, ['rlt'], resume=True).run()
  assert table(tmp_path) == []


def test_a_row_that_cannot_run_is_refused_before_any_runs(
  tmp_path, monkeypatch
):
  def check(row, config, assets):
    if config.agent_name == 'dsrl':
      raise ValueError('takes_noise')

  monkeypatch.setattr(runs, 'check_parts', check)
  with pytest.raises(compare.RefusedError, match="'dsrl' cannot run: takes_n"):
    make(tmp_path / 'c', ['rlt', 'dsrl']).run()
  assert not FakeRun.log


def test_the_parts_of_a_row_are_those_of_practice():
  config = rows.make_config(rows.ROWS['dsrl'], 5)
  wrong = dataclasses.replace(config, vla='tests.vlas.toy_vla:make')
  with pytest.raises(ValueError, match='needs a token trained on it'):
    CHECK_PARTS(rows.ROWS['dsrl'], wrong, '')


def test_a_stopped_run_continues(tmp_path):
  FakeRun.stop = 'rlt/seed-1'
  comparison = make(tmp_path / 'c', ['rlt'], seeds=(0, 1, 2))
  assert not comparison.is_saved()
  with pytest.raises(KeyboardInterrupt):
    comparison.run()
  assert comparison.is_saved()
  make(tmp_path / 'c', ['rlt'], seeds=(0, 1, 2), resume=True).run()
  assert FakeRun.log[1:] == [
    'rlt/seed-1', 'rlt/seed-1 resumed', 'rlt/seed-2'
  ]  # fmt: skip


def test_a_run_that_is_not_finite_is_reported_and_the_others_go_on(tmp_path):
  FakeRun.diverge = 'rlt_beta_0/seed-0'
  make(tmp_path / 'c', ['rlt_beta_0', 'rlt'], seeds=(0, 1)).run()
  rlt, broken = table(tmp_path / 'c')  # in the order of ROWS
  assert broken['diverged_seeds'] == ['seed-0'] and broken['seeds'] == 1
  gate = broken['gates']['stays_finite']
  assert not gate['passed'] and 'step 7' in gate['numbers']['diverged'][0]
  assert rlt['seeds'] == 2
  FakeRun.log.clear()
  make(tmp_path / 'c', ['rlt_beta_0', 'rlt'], seeds=(0, 1), resume=True).run()
  assert not FakeRun.log  # it is not tried again


def test_gates_are_of_the_runs_that_are_there(tmp_path, monkeypatch):
  FakeRun.diverge = 'rlt/seed-0'
  make(tmp_path / 'c', ['rlt']).run()
  assert not table(tmp_path / 'c')[0]['gates']['stays_finite']['passed']
  shutil.rmtree(tmp_path / 'c' / 'rlt' / 'seed-0')
  FakeRun.diverge = ''
  monkeypatch.setattr(FakeRun, 'phase', 'warm-up')
  make(tmp_path / 'c', ['rlt'], resume=True).run()
  gates = table(tmp_path / 'c')[0]['gates']
  assert gates['stays_finite']['passed']
  # The VLA drove to the end, so nothing is known of the agent.
  gate = gates['leaves_warmup']
  assert not gate['passed']
  assert gate['numbers']['phases_at_the_end'] == ['warm-up']


def test_a_row_without_a_finished_seed_is_in_the_tables(tmp_path):
  FakeRun.diverge = 'imitation/seed-0'
  make(tmp_path / 'c', ['imitation']).run()
  (row,) = table(tmp_path / 'c')
  assert row['points'] == {} and len(row['gates']) == 3
  assert not any(gate['passed'] for gate in row['gates'].values())


def test_a_folder_of_other_settings_is_refused(tmp_path):
  make(tmp_path / 'c', ['rlt']).run()
  with pytest.raises(ValueError, match=r'seed-0 has gamma=0.99, not 0.997'):
    make(tmp_path / 'c', ['rlt'], resume=True, changes=['gamma=0.997'])
  with pytest.raises(ValueError, match='workdir must be new'):
    make(tmp_path / 'c', ['rlt'])


def test_runs_of_several_vlas_are_refused(tmp_path, monkeypatch):
  make(tmp_path / 'c', ['rlt']).run()
  monkeypatch.setattr(FakeRun, 'vla', 'v2')
  with pytest.raises(compare.RefusedError, match="same VLA and token.*'v1'"):
    make(tmp_path / 'c', ['rlt'], seeds=(0, 1), resume=True).run()


def test_a_gate_that_needs_more_episodes_is_refused_before_any_run(tmp_path):
  with pytest.raises(ValueError, match="'imitation' need .* at least 20: 4"):
    make(tmp_path / 'c', ['imitation'], changes=['num_final_episodes=4'])


def test_a_gate_without_its_numbers_is_refused_by_name(tmp_path, monkeypatch):
  monkeypatch.setattr(FakeRun, 'report', _without_metrics(FakeRun.report))
  with pytest.raises(
    compare.RefusedError,
    match="'leaves_warmup' of .* 'rlt_beta_0'.* no metrics",
  ):
    make(tmp_path / 'c', ['rlt_beta_0']).run()


def _without_metrics(report):
  def write(self):
    report(self)
    (self.experiment.workdir / 'metrics.jsonl').unlink()

  return write


def test_practice_that_ends_in_the_warm_up_is_refused(tmp_path):
  with pytest.raises(ValueError, match='beyond the warm-up of 5: 5'):
    make(tmp_path / 'c', ['rlt'], changes=['vla_warmup_steps=15000'])
