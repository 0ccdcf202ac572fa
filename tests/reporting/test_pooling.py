"""Seeds of a variant, pooled from the files that runs leave."""

import json

import numpy as np
from PIL import Image
import pytest

from rlt_jax.reporting import pooled_report, pooling

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


def test_runs_with_other_evaluations_are_refused(tmp_path):
  runs = [write_run(tmp_path / x, [1], [10]) for x in 'ab']
  (runs[1] / 'evaluations.json').write_text('{"base": {}}')
  with pytest.raises(
    ValueError, match=f'same evaluations: .*b has no {_POINT}'
  ):
    pooling.pool_seeds('full', runs)


def test_a_report_that_is_no_json_is_named(tmp_path):
  run = write_run(tmp_path / 'a', [1], [10])
  (run / 'report.json').write_text('{"control_hz"')
  with pytest.raises(ValueError, match='a/report.json must hold JSON'):
    pooling.pool_seeds('full', [run])


def test_figures_come_with_a_plot_over_robot_minutes(tmp_path, variant):
  assert [m for m, _ in pooling.along(variant)] == [0.0, 5.0]
  point = variant['points'][_POINT]
  assert point['throughput_low'] < 450.0 < point['throughput_high']
  plot = pooled_report.write_figures(tmp_path / 'out' / 'x.json', [variant])
  assert json.loads((tmp_path / 'out' / 'x.json').read_text()) == [variant]
  with Image.open(plot) as image:
    pixels = np.asarray(image.convert('L'))
  # Two panels with curves, bands and labels.
  assert plot.name == 'x.png' and 0.005 < np.mean(pixels < 200) < 0.5


def test_seeds_have_a_common_report(tmp_path, variant):
  pooled_report.write(tmp_path, [variant], command='make sweep')
  text = (tmp_path / 'report.md').read_text()
  assert pooling.markdown([variant]) in text and 'make sweep' in text
  assert f']({pooled_report.PLOT})' in text
  assert (tmp_path / pooled_report.PLOT).stat().st_size > 10_000
  assert json.loads((tmp_path / 'report.json').read_text())[0]['seeds'] == 2
