import dataclasses
import io
import json
import math

import numpy as np
from PIL import Image
import pytest

from rlt_jax.reporting import metrics, report, statistics

_KEYS = {
  'episodes',
  'success',
  'success_low',
  'success_high',
  'median_steps',
  'throughput_per_10min',
}


def make(steps, outcome):
  outcome = np.array(outcome)
  return statistics.Episodes(outcome == 1, np.array(steps), outcome)


_BASE = make([200, 180, 400, 400], [1, 1, 0, 0])
_DEMONSTRATIONS = make([150, 160], [1, 1])
_FINAL = make([100, 110, 120, 400], [1, 1, 1, 2])


def full():
  return report.ReportData(
    base=_BASE,
    final=_FINAL,
    robot_minutes=10.0,
    control_hz=50.0,
    demonstrations=_DEMONSTRATIONS,
    outcomes=('time_out', 'success', 'force_limit'),
    along=(
      report.Evaluation(2.5, _BASE, _FINAL),
      report.Evaluation(5.0, _FINAL),
    ),
    token={'probe': {'r2': np.float32(0.5), 'gap': math.nan}},
    prompt={'swapped|blank': [0.25, 0.5]},
    beta={'beta': 0.003, 'final_ratio': 2.0},
    config={'update': {'batch_size': 256}},
    versions={'jax': '0.10.2'},
    wall_clock_s={'warm-up': 12.5},
    device='2 CPU cores',
    commit='abc1234',
    command='make practice',
    film='film.gif',
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  with metrics.MetricsWriter(folder) as writer:
    for step in range(0, 3000, 1000):
      writer.write({'env_steps': step, 'q_mean': step / 3000, 'success': 0.5})
  report.write_report(folder, full())
  return folder


def test_json_has_every_figure(folder):
  actual = json.loads((folder / 'report.json').read_text())
  for summary in (
    actual['base'],
    actual['demonstrations'],
    actual['final'],
    *actual['along'],
    actual['along'][0]['exploring'],
  ):
    assert set(summary) >= _KEYS
  assert actual['base']['success'] == 0.5
  assert actual['final']['median_steps'] == 110.0
  assert [item['robot_minutes'] for item in actual['along']] == [2.5, 5.0]
  assert actual['along'][0]['exploring']['success'] == 0.75
  assert 'exploring' not in actual['along'][1]
  assert actual['share_faster_than_all'] == 0.75
  assert actual['token'] == {'probe': {'r2': 0.5, 'gap': None}}
  assert actual['config'] == {'update': {'batch_size': 256}}
  assert actual['commit'] == 'abc1234'
  assert actual['final']['outcomes'] == {
    'time_out': 0, 'success': 3, 'force_limit': 1,
  }  # fmt: skip


def test_markdown_shows_the_numbers_of_the_json(folder):
  text = (folder / 'report.md').read_text()
  assert (
    '**10.0 robot minutes of practice took success from 50% (15–85) to '
    '75% (30–95) and the median time of a success from 190 steps (3.8 s) to '
    '110 steps (2.2 s).**'
  ) in text
  assert '75% of the final trials are faster than every demonstration' in text
  assert '| 2.5 | exploring | 4 | 75% (30–95) |' in text
  assert r'| swapped\|blank | 0.25, 0.5 |' in text
  assert '| update.batch_size | 256 |' in text
  assert '```\nmake practice\n```' in text
  for name in ('film.gif', 'steps.png', 'learning.png', 'training.png'):
    assert f']({name})' in text


def test_the_beta_section_explains_ratio_and_distance_apart(folder):
  text = (folder / 'report.md').read_text()
  section = text[text.index('## Beta') :].split('##')[1]
  assert '`ratio` is beta * E|a - ref|^2 / E[Q]' in section
  assert '`distance` is E|a - ref|^2 / `reference_variance`' in section
  assert '| final_ratio | 2 |' in section


def test_the_numbers_of_an_agent_without_beta_have_no_note_on_it(tmp_path):
  data = dataclasses.replace(full(), beta={'after_warmup': {'width': 3}})
  report.write_report(tmp_path, data)
  text = (tmp_path / 'report.md').read_text()
  assert (
    "## The agent's settings" in text and '| after_warmup.width | 3 |' in text
  )
  assert 'Beta' not in text


def test_a_diverged_world_is_reported(tmp_path, folder):
  report.write_report(tmp_path, dataclasses.replace(full(), diverged_worlds=2))
  text = (tmp_path / 'report.md').read_text()
  assert '**2 simulated worlds diverged**' in text
  assert json.loads((tmp_path / 'report.json').read_text())[
    'diverged_worlds'
  ] == 2  # fmt: skip
  assert 'diverged' not in (folder / 'report.md').read_text()


def test_more_entries_and_sections_are_appended(tmp_path):
  data = report.ReportData(
    base=_BASE,
    final=_BASE,
    robot_minutes=1.0,
    control_hz=50.0,
    extra={'loop': {'ticks': 3, 'late_s': math.nan}},
    sections=[
      report.Section(note='A note.'),
      report.Section(title='Loop', rows=[('ticks', 3), ('late|s', 0.123456)]),
    ],
  )
  report.write_report(tmp_path, data)
  actual = json.loads((tmp_path / 'report.json').read_text())
  assert actual['loop'] == {'ticks': 3, 'late_s': None}
  assert 'outcomes' not in actual['base']  # the codes have no names
  text = (tmp_path / 'report.md').read_text()
  assert (
    'A note.\n\n## Loop\n\n'
    '|  |  |\n| --- | --- |\n| ticks | 3 |\n| late\\|s | 0.1235 |\n'
  ) in text


def test_pictures_show_something(folder):
  for name in ('steps.png', 'learning.png', 'training.png'):
    with Image.open(folder / name) as picture:
      pixels = np.asarray(picture.convert('L'))
    assert pixels.shape[1] > 800 and 0.005 < np.mean(pixels < 200) < 0.5


def test_optional_parts_are_left_out(tmp_path):
  failed = make([400], [0])
  report.write_report(
    tmp_path,
    report.ReportData(
      base=failed, final=failed, robot_minutes=0.0, control_hz=50.0
    ),
  )
  text = (tmp_path / 'report.md').read_text()
  assert [line for line in text.split('\n') if line.startswith('#')] == [
    '# Practice report',
    '## What the numbers of report.json mean',
  ]
  assert 'median time of a success' not in text
  assert 'demonstration' not in text
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'report.json',
    'report.md',
    'steps.png',
  ]
  actual = json.loads((tmp_path / 'report.json').read_text())
  assert actual['demonstrations'] is None and actual['along'] == []


def test_table_lines_up_on_the_terminal():
  stream = io.StringIO()
  report.print_table(full(), stream)
  head, base, demonstrations, final = stream.getvalue().splitlines()
  assert base.startswith('base policy') and '190 steps (3.8 s)' in base
  columns = [row.index(t) for row, t in ((head, 'median'), (base, '190 steps'))]
  assert columns[0] == columns[1] == final.index('110 steps')
  assert demonstrations.split()[1] == '2'


def test_evaluations_out_of_order_are_refused():
  with pytest.raises(ValueError, match=r'ordered by robot_minutes: \[5.0, 2.5'):
    report.ReportData(
      base=_BASE,
      final=_FINAL,
      robot_minutes=5.0,
      control_hz=50.0,
      along=(report.Evaluation(5.0, _FINAL), report.Evaluation(2.5, _BASE)),
    )
