"""The report of a run on an arm: practice's, and what the loop did."""

from collections.abc import Iterable, Mapping, Sequence
import json
import os
import pathlib
from typing import Any

import numpy as np

from rlt_jax.reporting import report, statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.robot.control.telemetry import EpisodeRecord

WINDOWS = 5  # of practice, in `along`
_LATENESS = ('steps', 'late_p50_s', 'late_p99_s', 'overruns')
_FAILED = statistics.FORCE_LIMIT  # a person's label does not say why
_INDEX = {
  'success': statistics.SUCCESS,
  'failure': _FAILED,
  'time_limit': statistics.TIME_OUT,
}
_NOTE = (
  'On an arm nobody stops to evaluate: "along" is what practice itself did, '
  'exploration included, in windows of robot time. Attempts without a label '
  '(aborted, recorded again, cut by a hold) are counted and left out.'
)


def labelled(rows: Sequence[Mapping[str, Any]]) -> Episodes:
  """Returns the attempts that have a label and at least one step."""
  kept = [x for x in rows if x['outcome'] in _INDEX and x['steps'] > 0]
  outcome = np.array([_INDEX[x['outcome']] for x in kept], np.int32)
  return Episodes(
    success=outcome == statistics.SUCCESS,
    steps=np.array([x['steps'] for x in kept], np.int32),
    outcome=outcome,
  )


def write(
  folder: str | os.PathLike[str],
  rows: Sequence[Mapping[str, Any]],
  record: EpisodeRecord,
  by_mode: Mapping[str, EpisodeRecord],
  *,
  learner: Mapping[str, Any],
  host: Mapping[str, Any],
  human: Mapping[str, Any],
  warmup_minutes: float,
  control_hz: float,
  **about: Any,
) -> bool:
  """Writes report.json, report.md and the pictures.

  Args:
    folder: of the run.
    rows: its attempts, as in attempts.jsonl.
    record: the loop's, of all of them.
    by_mode: the loop's, of the attempts of each mode.
    learner: 'updates_per_s' and 'update_to_data', None where unknown.
    host: 'priority' in words; 'stolen', the part of the processors' time that
      a hypervisor kept, None where unknown.
    human: `Effort.report()`.
    warmup_minutes: of robot time that the VLA drove.
    control_hz: control steps a second.
    **about: other fields of `report.ReportData`: config, device, command.

  Returns:
    Whether there was an attempt to report on.
  """
  practised = [x for x in rows if x['mode'] == 'practice']
  minutes = practised[-1]['robot_minutes'] if practised else 0.0
  windows = _windows(practised, minutes)
  base = labelled([x for x in rows if x['mode'] == 'base'])
  if not len(base.success):
    warm = [x for x in practised if x['robot_minutes'] <= warmup_minutes]
    base = labelled(warm)
  final = labelled([x for x in rows if x['mode'] == 'evaluation'])
  if not len(final.success) and windows:
    final = windows[-1].mean
  if not len(base.success) or not len(final.success):
    return False
  data = report.ReportData(
    base=base,
    final=final,
    robot_minutes=minutes,
    along=[report.Evaluation(0.0, base), *windows],
    control_hz=control_hz,
    **about,
  )
  folder = pathlib.Path(folder)
  report.write_report(folder, data)
  path = folder / 'report.json'
  plain = json.loads(path.read_text())
  for part in (plain['base'], plain['final'], *plain['along']):
    counts = part['outcomes']
    counts['failure'] = counts.pop('force_limit')
    counts.pop('drop')
  outcomes: dict[str, int] = {}
  for row in rows:
    outcomes[row['outcome']] = outcomes.get(row['outcome'], 0) + 1
  plain |= {
    'loop': record.to_dict()
    | dict(learner)
    | dict(host)
    | {'by_mode': {mode: _lateness(x) for mode, x in by_mode.items()}},
    'human': dict(human),
    'attempts': {
      'count': len(rows),
      'outcomes': outcomes,
      'backfilled': sum(x['backfilled'] for x in rows),
      'gaps': sum(x['gaps'] for x in rows),
    },
  }
  path.write_text(json.dumps(plain, indent=2, allow_nan=False) + '\n')
  with (folder / 'report.md').open('a') as file:
    file.write(_sections(plain))
  report.print_table(data)
  return True


def _windows(
  rows: Sequence[Mapping[str, Any]], minutes: float
) -> list[report.Evaluation]:
  windows = []
  for i in range(WINDOWS):
    low, high = (minutes * (i + k) / WINDOWS for k in (0, 1))
    found = labelled([x for x in rows if low < x['robot_minutes'] <= high])
    if len(found.success):
      windows.append(report.Evaluation(high, found))
  return windows


def _sections(plain: Mapping[str, Any]) -> str:
  loop = {
    name: value
    for name, value in plain['loop'].items()
    if not isinstance(value, Mapping | list)
  }
  parts = [_NOTE]
  modes = plain['loop']['by_mode']
  parts.append(
    '## Lateness by mode\n\nThe learner is busy in practice only.\n\n'
    + _table(
      ('mode', *_LATENESS), [(mode, *x.values()) for mode, x in modes.items()]
    )
  )
  for title, values in (
    ('Loop', loop),
    ('Why the arm held (ticks)', plain['loop']['verdicts']),
    ('Person', plain['human']),
    ('Attempts', plain['attempts']['outcomes']),
  ):
    if values:
      parts.append(f'## {title}\n\n' + _table(('', ''), values.items()))
  return '\n' + '\n\n'.join(parts) + '\n'


def _lateness(record: EpisodeRecord) -> dict[str, Any]:
  found = record.to_dict()
  return {name: found[name] for name in _LATENESS}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  lines = (head, ('---',) * len(head), *(map(_text, row) for row in rows))
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _text(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)
