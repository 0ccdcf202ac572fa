"""Pools finished practice runs into one table: seeds by variant.

  python -m experiments.summarize --out=benchmarks/results/practice.json \
      full=runs/full-0,runs/full-1 zeros=runs/zeros-0

Each argument is a name and the workdirs of its seeds. Episodes are pooled over
seeds; medians and throughput are also given a seed at a time, since seeds, not
episodes, are what varies between runs. The Markdown table goes to stdout.
"""

import json
import pathlib

from absl import app, flags

from rlt_jax.reporting import statistics

_OUT = flags.DEFINE_string('out', None, 'JSON file to write.', required=True)


def _load(workdir: str) -> tuple[dict, dict]:
  folder = pathlib.Path(workdir)
  for name in ('report.json', 'evaluations.json'):
    if not (folder / name).exists():
      raise app.UsageError(
        f'A run must be finished; {name} is not in {folder}.'
      )
  return (
    json.loads((folder / 'report.json').read_text()),
    json.loads((folder / 'evaluations.json').read_text()),
  )


def variant(name: str, workdirs: list[str]) -> dict:
  """Returns the figures of one variant, by evaluation."""
  loaded = [_load(w) for w in workdirs]
  points = {}
  for key in loaded[0][1]:
    if key != 'base' and '@' not in key:
      continue
    # The base has no seed: every run evaluates the same episodes.
    among = loaded[:1] if key == 'base' else loaded
    parts = [statistics.from_plain(data[key]) for _, data in among]
    each = [statistics.summarize(p) for p in parts]
    points[key] = statistics.summarize(statistics.pool(parts)) | {
      'by_seed': [
        {n: s[n] for n in ('success', 'median_steps', 'throughput_per_10min')}
        for s in each
      ]
    }
  return {
    'name': name,
    'seeds': len(workdirs),
    'points': points,
    'share_faster_than_all': [r['share_faster_than_all'] for r, _ in loaded],
    'commands': [r['command'] for r, _ in loaded],
    'commits': [r['commit'] for r, _ in loaded],
    'device': loaded[0][0]['device'],
    'versions': loaded[0][0]['versions'],
    'config': loaded[0][0]['config'],
    'wall_clock_s': [r['wall_clock_s'] for r, _ in loaded],
  }


def _row(name: str, key: str, point: dict) -> str:
  median = point['median_steps']
  rates = [s['throughput_per_10min'] for s in point['by_seed']]
  return (
    f'| {name} | {key} | {point["episodes"]} | {point["success"]:.2f} '
    f'({point["success_low"]:.2f}–{point["success_high"]:.2f}) | '
    f'{"–" if median is None else f"{median:.0f}"} | '
    f'{point["throughput_per_10min"]:.0f} '
    f'({min(rates):.0f}–{max(rates):.0f}) |'
  )


def main(argv: list[str]) -> None:
  """Reads, pools, writes and prints."""
  if len(argv) < 2 or any('=' not in a for a in argv[1:]):
    raise app.UsageError(f'Arguments must be name=run,run,...: {argv[1:]}')
  table = []
  for argument in argv[1:]:
    name, runs = argument.split('=', 1)
    table.append(variant(name, runs.split(',')))
  out = pathlib.Path(_OUT.value)
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(table, indent=1) + '\n')
  print(
    '| variant | policy@minutes | trials | success (95 %) | median steps | '
    'per 10 min (seeds) |\n|---|---|---|---|---|---|'
  )
  for entry in table:
    for key, point in entry['points'].items():
      print(_row(entry['name'], key, point))


if __name__ == '__main__':
  app.run(main)
