"""Report of a run on an arm: the practice report and control loop figures."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from rlt_jax.reporting import provenance, report, statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.telemetry import EpisodeRecord
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.run_results import FILE
from rlt_jax.robot.runtime import FinishedRun

WINDOWS = 5  # parts of practice in `along`
# A person's label does not say why an episode failed, so there is one failure.
OUTCOMES = (
  EpisodeOutcome.TIME_OUT.value,
  EpisodeOutcome.SUCCESS.value,
  EpisodeOutcome.FAILURE.value,
)
_BY_MODE = (
  *('steps', 'waited', 'held', 'late_p50_s', 'late_p99_s', 'late_worst_s'),
  'overruns',
)
_NOTE = (
  'Practice on an arm is not stopped for evaluations: "along" is the success '
  'of practice itself, exploration included, in windows of robot time. '
  'Episodes without a label (aborted, recorded again, cut by a hold) are '
  'counted and left out.'
)


def labeled(rows: Sequence[Mapping[str, Any]]) -> Episodes:
  """Returns the episodes that have a label and at least one step."""
  kept = [x for x in rows if x['outcome'] in OUTCOMES and x['steps'] > 0]
  return statistics.make_episodes(
    [OUTCOMES.index(x['outcome']) for x in kept], [x['steps'] for x in kept]
  )


def write_run(
  folder: str | os.PathLike[str], finished: FinishedRun, *, command: str
) -> bool:
  """Writes the report of a run and prints where it is.

  Args:
    folder: of the run.
    finished: the run.
    command: that started it.

  Returns:
    Whether there were enough episodes for a report.
  """
  run = finished.run
  results, newest = run.results, run.updates.snapshot
  update_to_data = None
  if newest is not None and newest.rows:
    update_to_data = newest.critic_updates / newest.rows
  written = results.record is not None and write(
    folder,
    results.episodes,
    results.record,
    results.by_mode,
    host=finished.host,
    learner={
      'updates_per_s': run.updates.updates_per_s(),
      'update_to_data': update_to_data,
      'refused_snapshots': run.updates.num_refused,
    },
    human=run.operator.effort.report(),
    warmup_minutes=finished.warmup_minutes,
    control_hz=finished.control_hz,
    command=command,
    device=provenance.device(),
    commit=provenance.commit(),
    versions=provenance.versions(),
  )
  if run.cause:
    print(f'Stopped: {run.cause}.')
  name = 'report.md' if written else f'{FILE} (too few for a report)'
  print(pathlib.Path(folder) / name, flush=True)
  return written


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
    rows: its episodes, as in episodes.jsonl.
    record: of the loop, over all episodes.
    by_mode: of the loop, over the episodes of each mode.
    learner: 'updates_per_s' and 'update_to_data', None where unknown;
      'refused_snapshots', how often damaged weights were not taken.
    host: 'priority' in words; 'stolen', the share of the processors' time that
      a hypervisor kept, None where unknown.
    human: `Effort.report()`.
    warmup_minutes: robot time that the VLA drove.
    control_hz: control steps per second.
    **about: other fields of `report.ReportData`: config, device, command.

  Returns:
    Whether there was an episode to report on.
  """
  practiced = [x for x in rows if x['mode'] == 'practice']
  minutes = practiced[-1]['robot_minutes'] if practiced else 0.0
  windows = _windows(practiced, minutes)
  base = labeled([x for x in rows if x['mode'] == 'base'])
  if not len(base.success):
    base = labeled(
      [x for x in practiced if x['robot_minutes'] <= warmup_minutes]
    )
  final = labeled([x for x in rows if x['mode'] == 'evaluation'])
  if not len(final.success) and windows:
    final = windows[-1].mean
  if not len(base.success) or not len(final.success):
    return False
  extra = {
    'loop': record.to_dict()
    | dict(learner)
    | dict(host)
    | {'by_mode': {mode: _of_mode(x) for mode, x in by_mode.items()}},
    'human': dict(human),
    'episodes': {
      'count': len(rows),
      'outcomes': _count(rows),
      'late_queries': sum(x['late_queries'] for x in rows),
      'missing_queries': sum(x['missing_queries'] for x in rows),
    },
  }
  data = report.ReportData(
    base=base,
    final=final,
    outcomes=OUTCOMES,
    robot_minutes=minutes,
    along=[report.Evaluation(0.0, base), *windows],
    control_hz=control_hz,
    extra=extra,
    sections=_sections(extra),
    **about,
  )
  report.write_report(folder, data)
  report.print_table(data)
  return True


def _windows(
  rows: Sequence[Mapping[str, Any]], minutes: float
) -> list[report.Evaluation]:
  """Returns the success of practice in windows of robot time."""
  windows = []
  for i in range(WINDOWS):
    low, high = (minutes * (i + k) / WINDOWS for k in (0, 1))
    found = labeled([x for x in rows if low < x['robot_minutes'] <= high])
    if len(found.success):
      windows.append(report.Evaluation(high, found))
  return windows


def _count(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
  """Returns how many episodes ended with each outcome, labeled or not."""
  outcomes: dict[str, int] = {}
  for row in rows:
    outcomes[row['outcome']] = outcomes.get(row['outcome'], 0) + 1
  return outcomes


def _sections(extra: Mapping[str, Any]) -> list[report.Section]:
  """Returns the blocks that only the report of an arm has."""
  loop = extra['loop']
  plain = {
    name: value
    for name, value in loop.items()
    if not isinstance(value, Mapping | list)
  }
  modes = [(mode, *x.values()) for mode, x in loop['by_mode'].items()]
  tables = (
    ('Loop', plain),
    ('Why the arm held (control steps)', loop['verdicts']),
    ('Person', extra['human']),
    ('Episodes', extra['episodes']['outcomes']),
  )
  return [
    report.Section(note=_NOTE),
    report.Section(
      title='Control steps by mode',
      note='waited: steps in which the arm stood still for an answer of the '
      'VLA. held: steps in which no command was sent. The learner is busy in '
      'practice only.',
      head=('mode', *_BY_MODE),
      rows=modes,
    ),
    *(
      report.Section(title=title, rows=list(values.items()))
      for title, values in tables
      if values
    ),
  ]


def _of_mode(record: EpisodeRecord) -> dict[str, Any]:
  found = record.to_dict()
  found['waited'] = found['sources'].get(CommandSource.WAIT, 0)
  found['held'] = found['not_sent']
  return {name: found[name] for name in _BY_MODE}
