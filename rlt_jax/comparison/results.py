"""The table of a comparison, as Markdown and JSON, and its figure."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

from rlt_jax import files
from rlt_jax.comparison.rows import Row
from rlt_jax.reporting import plots, pooling

NAME = 'comparison'
_NOTE = (
  'Episodes are pooled over the finished seeds; behind a throughput is the '
  'range of the seeds. `base` is the VLA alone, `mean@5` the policy without '
  'exploration noise after 5 robot minutes, `exploring@5` that with it. The '
  'figure and the gates have the mean policy, but of methods that sample as '
  'published the other one. A number behind a name, `mean20@5`, is of the VLA '
  'alone: control steps that it runs of a chunk. All rows start from the same '
  'states. A row that fails a gate is no evidence about its method.'
)


def entry(
  row: Row,
  *,
  finished: Sequence[pathlib.Path],
  diverged: Sequence[pathlib.Path],
  gates: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns a row's part of the JSON file.

  Args:
    row: which one.
    finished: folders of its finished seeds.
    diverged: folders of the seeds whose numbers were no longer finite.
    gates: of `gates.check`.
  """
  figures = {'name': row.name, 'seeds': 0, 'points': {}}
  if finished:
    figures = pooling.pool_seeds(row.name, finished)
  return figures | {
    'about': row.about,
    'agent': row.agent,
    'policy': row.policy,
    'settings': list(row.settings),
    'finetuning': row.finetuning and dataclasses.asdict(row.finetuning),
    'diverged_seeds': [folder.name for folder in diverged],
    'gates': dict(gates),
  }


def write(
  workdir: pathlib.Path, entries: Sequence[Mapping[str, Any]], *, command: str
) -> str:
  """Writes comparison.md, .json and .png; returns the text of the first.

  Args:
    workdir: of the comparison.
    entries: of `entry`, in the order of the table.
    command: that ran them.
  """
  plain = json.dumps({'command': command, 'rows': list(entries)}, indent=1)
  files.write_atomically(workdir / f'{NAME}.json', plain + '\n')
  shown = [x for x in entries if x['points']]
  blocks = [
    '# Comparison',
    pooling.markdown(shown),
    _NOTE,
    '## What practice took, means of the seeds',
    _cost_table(shown),
    '## Gates',
    gate_table(entries),
    '## Rows',
    _row_table(entries),
    f'```\n{command}\n```',
  ]
  if shown:
    plots.save_variants(
      workdir / f'{NAME}.png',
      {x['name']: pooling.along(x, x['policy']) for x in shown},
    )
    blocks.insert(3, f'![Success and throughput during practice]({NAME}.png)')
  text = '\n\n'.join(blocks) + '\n'
  files.write_atomically(workdir / f'{NAME}.md', text)
  return text


def gate_table(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns a Markdown table of all gates of all rows."""
  rows = [
    (
      x['name'],
      name,
      'pass' if gate['passed'] else '**fail**',
      _numbers(gate['numbers']),
      gate['rule'],
    )
    for x in entries
    for name, gate in x['gates'].items()
  ]
  return _table(('row', 'gate', 'result', 'numbers', 'rule'), rows)


def _cost_table(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns a Markdown table of each row's failures, updates and time."""
  rows = []
  for x in entries:
    practice = [part for part in x['practice'] if part]
    cells = ['–'] * 5
    if practice:
      ended = [part['outcomes'] for part in practice]
      failed = [
        part['episodes'] - o['success'] - o['time_out']
        for part, o in zip(practice, ended, strict=True)
      ]
      cells = [
        _mean([part['episodes'] for part in practice]),
        _mean(failed),
        _mean([o['time_out'] for o in ended]),
        _mean([part['critic_updates'] for part in practice]),
        # Reports of a frozen VLA do not have it.
        _mean([part.get('vla_updates', 0) for part in practice]),
      ]
    human = [part['human_s'] / 60 for part in x['human'] if part]
    seconds = [sum(part.values()) / 60 for part in x['wall_clock_s']]
    rows.append(
      (x['name'], *cells, _mean(human) if human else '0', _mean(seconds))
    )
  head = (
    'row', 'episodes', 'failed', 'timed out', 'critic updates', 'VLA updates',
    'minutes of a person', 'wall-clock minutes',
  )  # fmt: skip
  return _table(head, rows)


def _mean(values: Sequence[float]) -> str:
  mean = sum(values) / len(values)
  return f'{mean:.0f}' if mean >= 100 else f'{mean:.3g}'


def _row_table(entries: Sequence[Mapping[str, Any]]) -> str:
  rows = [
    (
      x['name'],
      x['about'],
      f'`--agent={x["agent"]}`',
      ' '.join(f'`{setting}`' for setting in _all_settings(x)) or '–',
      f'{x["seeds"]}, {len(x["diverged_seeds"])} not finite',
    )
    for x in entries
  ]
  return _table(('row', 'what it is', 'agent', 'settings', 'seeds'), rows)


def _all_settings(x: Mapping[str, Any]) -> list[str]:
  method = x.get('finetuning') or {}
  return [*x['settings'], *(f'finetuning.{k}={v}' for k, v in method.items())]


def _numbers(numbers: Mapping[str, Any]) -> str:
  return ', '.join(f'{k} {_cell(v)}' for k, v in numbers.items())


def _cell(value: Any) -> str:
  if isinstance(value, float):
    return f'{value:.3g}'
  if isinstance(value, Mapping):
    return f'({_numbers(value)})'
  if isinstance(value, list | tuple):
    return ', '.join(map(_cell, value)) if value else 'none'
  return str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = (head, ('---',) * len(head), *rows)
  return '\n'.join(
    f'| {" | ".join(cell.replace("|", "/") for cell in line)} |'
    for line in lines
  )
