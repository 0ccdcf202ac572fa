"""The report of a run on an arm, from its episodes and the loop's record."""

import json

import numpy as np
import pytest

from rlt_jax.reporting import definitions, robot_report
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.telemetry import blank_step, EpisodeRecord
from rlt_jax.robot.operator.effort import Effort


def _row(mode, outcome, steps, minutes):
  return {
    'mode': mode, 'outcome': outcome, 'steps': steps, 'robot_minutes': minutes,
    'late_queries': 1, 'missing_queries': 0,
  }  # fmt: skip


def _record(late_s, ticks=100, waited=0, held=0):
  record = EpisodeRecord(2)
  for i in range(ticks):
    tick = blank_step(0.02 * i, late_s, 2)
    source = CommandSource.WAIT if i < waited else CommandSource.VLA
    verdict = 'A new chunk must come: late.' if i >= ticks - held else ''
    tick = tick._replace(source=source, verdict=verdict)
    record.add(tick._replace(io_s=1e-3, measured=np.zeros(2)))
  return record


def _write(folder, rows):
  by_mode = {
    'base': _record(1e-4),
    'practice': _record(1e-2, waited=7, held=3),
  }
  total = _record(1e-4)
  total.merge(by_mode['practice'])
  return robot_report.write(
    folder, rows, total, by_mode,
    learner={'updates_per_s': 100.0, 'update_to_data': 5.0},
    host={'priority': 'none', 'stolen': None}, human=Effort().report(),
    warmup_minutes=0.5, control_hz=50.0,
  )  # fmt: skip


def test_the_report_has_practices_keys_and_the_loops_by_mode(tmp_path, capsys):
  rows = [
    _row('base', 'success', 250, 0.0),
    _row('base', 'time_out', 500, 0.0),
    _row('practice', 'success', 150, 0.5),
    _row('practice', 'failure', 90, 1.0),
    _row('practice', 'abort', 20, 1.0),
    _row('evaluation', 'success', 100, 1.0),
  ]
  assert _write(tmp_path, rows)
  report = json.loads((tmp_path / 'report.json').read_text())
  assert report['base']['success'] == 0.5
  assert report['base']['throughput_per_10min'] == pytest.approx(40.0)
  assert report['final']['median_steps'] == 100
  assert [x['robot_minutes'] for x in report['along']][0] == 0.0
  loop = report['loop']
  assert loop['steps'] == 200 and loop['updates_per_s'] == 100.0
  quiet, busy = loop['by_mode']['base'], loop['by_mode']['practice']
  assert quiet['steps'] == busy['steps'] == 100
  assert quiet['late_p99_s'] < 2e-4 and busy['late_p99_s'] > 5e-3
  assert (quiet['waited'], quiet['held']) == (0, 0)
  assert (busy['waited'], busy['held']) == (7, 3)
  assert report['episodes']['outcomes']['abort'] == 1
  names = set(definitions.names(report))
  assert names <= definitions.DEFINITIONS.keys()
  text = (tmp_path / 'report.md').read_text()
  assert '## Control steps by mode' in text and '| practice | 100 |' in text
  assert capsys.readouterr().out


def test_without_a_labeled_episode_there_is_no_report(tmp_path):
  assert not _write(tmp_path, [_row('practice', 'abort', 20, 0.1)])
  assert not (tmp_path / 'report.json').exists()
