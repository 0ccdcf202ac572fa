"""Seeds of a variant, pooled from the files that runs leave."""

import json

import pytest

from rlt_jax.reporting import pooling

_POINT = 'mean@5'


def write_run(folder, outcome, steps):
  """Writes what `pool_seeds` reads of a finished run."""
  folder.mkdir()
  report = {
    'control_hz': 25, 'share_faster_than_all': 0.5, 'command': 'make practice',
    'commit': 'abc', 'device': 'CPU', 'versions': {'numpy': '2'},
    'config': {'seed': 0}, 'wall_clock_s': {'practice_s': 1.0},
  }  # fmt: skip
  stored = {
    'base': {'outcome': [0, 1], 'steps': [100, 100]},
    'beta': {'reference_variance': 1.0},
    _POINT: {'outcome': outcome, 'steps': steps},
  }
  (folder / 'report.json').write_text(json.dumps(report))
  (folder / 'evaluations.json').write_text(json.dumps(stored))
  return folder


@pytest.fixture
def variant(tmp_path):
  return pooling.pool_seeds(
    'full',
    [
      write_run(tmp_path / 'a', [1, 1], [10, 40]),
      write_run(tmp_path / 'b', [1, 0], [30, 20]),
    ],
  )


def test_episodes_are_pooled_and_kept_by_seed(variant):
  assert variant['seeds'] == 2 and variant['commits'] == ['abc', 'abc']
  point = variant['points'][_POINT]
  assert point['episodes'] == 4 and point['success'] == 0.75
  assert point['median_steps'] == 30.0
  # 3 successes in 100 steps of 40 ms are 3 in 4 s, 450 in 10 min.
  assert point['throughput_per_10min'] == pytest.approx(450.0)
  assert [x['success'] for x in point['by_seed']] == [1.0, 0.5]


def test_the_base_is_counted_once_and_other_entries_are_left_out(variant):
  assert set(variant['points']) == {'base', _POINT}
  assert variant['points']['base']['episodes'] == 2


def test_the_table_has_a_row_for_every_point(variant):
  head, _, base, point = pooling.markdown([variant]).splitlines()
  assert head.startswith('| variant | policy@minutes | trials |')
  assert base.startswith('| full | base | 2 | 0.50 (')
  assert point.startswith('| full | mean@5 | 4 | 0.75 (0.30–0.95) | 30 | ')
  assert point.endswith('| 450 (300–600) |')


def test_an_unfinished_run_is_refused(tmp_path):
  run = write_run(tmp_path / 'a', [1], [10])
  (run / 'report.json').unlink()
  with pytest.raises(ValueError, match='finished: report.json is not in .*a'):
    pooling.pool_seeds('full', [run])
