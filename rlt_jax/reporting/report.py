"""The report of a run: figures, curves, and how to reproduce them.

`report.json` is for programs, `report.md` for people; both are written from
one `ReportData`.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import math
import os
import pathlib
import sys
from typing import Any, NamedTuple, TextIO

import numpy as np

from rlt_jax import files
from rlt_jax.reporting import definitions, metrics, plots, statistics

_COLUMNS = ('', 'trials', 'success (95 %)', 'median to success', 'per 10 min')
_BETA_NOTE = (
  "Beta weighs the squared distance between the actor's mean chunk `a` and the "
  'reference chunk `ref` against the value (Eq. 5). `ratio` is beta * '
  'E|a - ref|^2 / E[Q]: the cost of leaving the reference as a share of the '
  'value. `distance` is E|a - ref|^2 / `reference_variance`, the variance '
  'of the reference when it is sampled again at the same state. Below 1 '
  'the actor only imitates; tens mean chunks that no demonstration has shown.'
)


class Section(NamedTuple):
  """One more block of report.md: a title, a note and a table.

  title: of the block; '' writes the note alone.
  head, rows: of the table; cells are text or numbers. No rows, no table.
  """

  title: str = ''
  note: str = ''
  head: Sequence[str] = ('', '')
  rows: Sequence[Sequence[Any]] = ()


class Evaluation(NamedTuple):
  """One evaluation during practice.

  robot_minutes: practice before it, all environments together.
  mean: episodes of the actor without exploration noise.
  exploring: episodes with the noise it practices with; None if not run.
  """

  robot_minutes: float
  mean: statistics.Episodes
  exploring: statistics.Episodes | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportData:
  """Everything that a report shows; empty fields are left out of it."""

  base: statistics.Episodes  # the frozen VLA alone
  final: statistics.Episodes  # after practice, without exploration noise
  robot_minutes: float  # practice before `final`
  control_hz: float  # control steps per second
  outcomes: Sequence[str] = ()  # the task's names of outcomes, by code
  demonstrations: statistics.Episodes | None = None  # what the VLA learned from
  diverged_worlds: int | None = None  # see METRICS; None where it has no sense
  along: Sequence[Evaluation] = ()  # in the order of robot_minutes
  token: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  prompt: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  beta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
  wall_clock_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
  device: str = ''  # name of the computing device
  commit: str = ''  # of the code that ran
  command: str = ''  # command line of the run
  film: str = ''  # file name inside the report's folder
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of JSON
  sections: Sequence[Section] = ()  # more blocks, at the end of report.md

  def __post_init__(self):
    minutes = [evaluation.robot_minutes for evaluation in self.along]
    if minutes != sorted(minutes):
      raise ValueError(f'along must be ordered by robot_minutes: {minutes}.')


def write_report(folder: str | os.PathLike[str], data: ReportData) -> None:
  """Writes report.json, report.md and the pictures into `folder`.

  Training curves come from the metrics.jsonl in `folder`, if there is one.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  report = to_plain(data)
  text = json.dumps(report, indent=2, allow_nan=False)
  files.write_atomically(folder / 'report.json', text + '\n')
  pictures = _draw(folder, data, report)
  markdown = '\n\n'.join(_sections(data, report, pictures))
  files.write_atomically(folder / 'report.md', markdown + '\n')


def to_plain(data: ReportData) -> dict[str, Any]:
  """Returns the contents of report.json; numbers JSON cannot hold are null."""

  def summarize(episodes: statistics.Episodes) -> dict[str, Any]:
    return statistics.summarize(episodes, data.control_hz, data.outcomes)

  along = []
  for point in data.along:
    item = {'robot_minutes': point.robot_minutes} | summarize(point.mean)
    if point.exploring is not None:
      item['exploring'] = summarize(point.exploring)
    along.append(item)
  report = {
    'robot_minutes': data.robot_minutes,
    'base': summarize(data.base),
    'demonstrations': None,
    'final': summarize(data.final),
    'along': along,
    'share_faster_than_all': None,
  }
  if data.demonstrations is not None:
    report['demonstrations'] = summarize(data.demonstrations)
    report['share_faster_than_all'] = statistics.share_faster_than_all(
      data.final, data.demonstrations
    )
  for name in (
    'diverged_worlds',
    'token',
    'prompt',
    'beta',
    'config',
    'versions',
    'device',
    'commit',
    'command',
    'wall_clock_s',
    'film',
    'control_hz',
  ):
    report[name] = getattr(data, name)
  return _plain(report | dict(data.extra))


def print_table(data: ReportData, stream: TextIO | None = None) -> None:
  """Prints base, demonstrations and final as an aligned table."""
  rows = [_COLUMNS, *_policy_rows(to_plain(data))]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for row in rows:
    cells = (c.ljust(w) for c, w in zip(row, widths, strict=True))
    print('  '.join(cells).rstrip(), file=stream or sys.stdout)


def _draw(
  folder: pathlib.Path, data: ReportData, report: Mapping[str, Any]
) -> list[tuple[str, str]]:
  """Draws what there is data for; returns (file, caption) of each picture."""
  groups = {
    'demonstrations': data.demonstrations,
    'base': data.base,
    'after practice': data.final,
  }
  groups = {name: group for name, group in groups.items() if group is not None}
  plots.save_steps(folder / 'steps.png', groups, data.control_hz)
  pictures = [('steps.png', 'Control steps to success; the bar is the median')]
  if data.along:
    plots.save_learning(
      folder / 'learning.png',
      [item['robot_minutes'] for item in report['along']],
      report['along'],
      [item.get('exploring') for item in report['along']],
      report['base'],
      report['demonstrations'],
    )
    pictures.append(('learning.png', 'Evaluation during practice'))
  rows = metrics.read_metrics(folder)
  if plots.save_training(folder / 'training.png', rows, data.control_hz):
    pictures.append(('training.png', 'Training curves'))
  return pictures


def _sections(
  data: ReportData,
  report: Mapping[str, Any],
  pictures: Sequence[tuple[str, str]],
) -> Iterator[str]:
  """Yields the blocks of report.md."""
  yield '# Practice report'
  yield _headline(report)
  if data.film:
    yield f'![Matched episodes before and after practice]({data.film})'
  yield _table(_COLUMNS, _policy_rows(report))
  if data.demonstrations is not None:
    yield (
      f'{report["share_faster_than_all"]:.0%} of the final trials are faster '
      'than every demonstration (failures count as slower).'
    )
  if count := data.diverged_worlds:
    yield (
      f'**{count} simulated {"world" if count == 1 else "worlds"} diverged** '
      'during practice: numbers were no longer finite. These episodes count as '
      'failed, were not learned from, and new ones began.'
    )
  for file, caption in pictures:
    yield f'![{caption}]({file})'
  if data.along:
    yield '## Along the way'
    yield _along_table(report['along'], data.control_hz)
  for title, note, values in (
    ('Practice', '', report.get('practice')),
    ('RL token', '', report['token']),
    ('Prompt', '', report['prompt']),
    _diagnosis(report['beta']),
    ('Wall clock (s)', '', report['wall_clock_s']),
    ('Settings', '', report['config']),
    ('Versions', '', report['versions']),
  ):
    if values:
      yield f'## {title}'
      if note:
        yield note
      yield _table(('', ''), list(_flat(values)))
  yield from _origin(report)
  for section in data.sections:
    if section.title:
      yield f'## {section.title}'
    if section.note:
      yield section.note
    if section.rows:
      rows = [[_cell(value) for value in row] for row in section.rows]
      yield _table(section.head, rows)
  yield '## What the numbers of report.json mean'
  yield _table(('number', 'unit and meaning'), definitions.rows(report))


def _diagnosis(
  numbers: Mapping[str, Any],
) -> tuple[str, str, Mapping[str, Any]]:
  """Returns title, note and numbers; the note is about an agent with beta."""
  if any(name.endswith('beta') for name, _ in _flat(numbers)):
    return 'Beta', _BETA_NOTE, numbers
  return "The agent's settings", '', numbers


def _origin(report: Mapping[str, Any]) -> Iterator[str]:
  lines = [
    f'- {name}: {report[name]}' for name in ('device', 'commit') if report[name]
  ]
  if lines or report['command']:
    yield '## How it was made'
  if report['command']:
    yield f'```\n{report["command"]}\n```'
  if lines:
    yield '\n'.join(lines)


def _headline(report: Mapping[str, Any]) -> str:
  base, final = report['base'], report['final']
  text = (
    f'{report["robot_minutes"]:.1f} robot minutes of practice took success '
    f'from {_rate(base)} to {_rate(final)}'
  )
  if base['median_steps'] and final['median_steps']:
    text += (
      ' and the median time of a success from '
      f'{_time(base, report["control_hz"])} to '
      f'{_time(final, report["control_hz"])}'
    )
  return f'**{text}.**'


def _policy_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
  rows = []
  for label, name in (
    ('base policy', 'base'),
    ('demonstrations', 'demonstrations'),
    ('after practice', 'final'),
  ):
    summary = report[name]
    if summary is not None:
      rows.append((label, *_cells(summary, report['control_hz'])))
  return rows


def _cells(summary: Mapping[str, Any], hz: float) -> tuple[str, ...]:
  return (
    str(summary['episodes']),
    _rate(summary),
    _time(summary, hz),
    f'{summary["throughput_per_10min"]:.0f}',
  )


def _along_table(along: Sequence[Mapping[str, Any]], hz: float) -> str:
  rows = []
  for item in along:
    for label, summary in (
      ('mean', item),
      ('exploring', item.get('exploring')),
    ):
      if summary is not None:
        minutes = f'{item["robot_minutes"]:.1f}'
        rows.append((minutes, label, *_cells(summary, hz)))
  return _table(('robot minutes', 'policy', *_COLUMNS[1:]), rows)


def _rate(summary: Mapping[str, Any]) -> str:
  low, high = summary['success_low'], summary['success_high']
  return f'{summary["success"]:.0%} ({100 * low:.0f}–{100 * high:.0f})'


def _time(summary: Mapping[str, Any], hz: float) -> str:
  steps = summary['median_steps']
  return '–' if steps is None else f'{steps:.0f} steps ({steps / hz:.1f} s)'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  escaped = ([cell.replace('|', r'\|') for cell in line] for line in lines)
  return '\n'.join(f'| {" | ".join(line)} |' for line in escaped)


def _flat(values: Mapping[str, Any], above: str = '') -> Iterator[list[str]]:
  """Yields [dotted name, text] of nested mappings."""
  for name, value in values.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f'{above}{name}.')
      continue
    items = value if isinstance(value, list) else [value]
    yield [above + name, ', '.join(map(_cell, items))]


def _cell(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
  """Returns `value` with arrays, tuples and NaN as JSON has them."""
  if isinstance(value, Mapping):
    return {str(name): _plain(item) for name, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  if hasattr(value, 'shape'):
    return _plain(np.asarray(value).tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
