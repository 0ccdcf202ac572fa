"""Pools the reports of several seeds, so that variants can be compared."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from rlt_jax import files
from rlt_jax.reporting import statistics

HEAD = (
  'variant', 'policy@minutes', 'trials', 'success (95 %)', 'median steps',
  'per 10 min (seeds)',
)  # fmt: skip
_BY_SEED = ('success', 'median_steps', 'throughput_per_10min')
_FILES = ('report.json', 'evaluations.json')


def pool_seeds(
  name: str, workdirs: Sequence[str | os.PathLike[str]]
) -> dict[str, Any]:
  """Returns the figures of one variant.

  Episodes are pooled over the seeds. Success, median and throughput are also
  given for each seed, because runs differ by their seeds more than by their
  episodes.

  Args:
    name: of the variant.
    workdirs: of its finished runs, one per seed, at least one.

  Raises:
    ValueError: a run without its report, or with other evaluations than the
      first.
  """
  loaded = [_load(pathlib.Path(workdir)) for workdir in workdirs]
  reports = [report for report, _ in loaded]
  hz = reports[0]['control_hz']
  points = {}
  for key in loaded[0][1]:
    if key != 'base' and '@' not in key:
      continue
    # The base has no seed: every run evaluates the same episodes.
    among = loaded[:1] if key == 'base' else loaded
    for folder, (_, stored) in zip(workdirs, among, strict=False):
      if key not in stored:
        raise ValueError(
          f'The runs of {name!r} must have the same evaluations: {folder} has '
          f'no {key}.'
        )
    parts = [statistics.from_plain(stored[key]) for _, stored in among]
    seeds = [statistics.summarize(part, hz) for part in parts]
    pooled = statistics.pool(parts)
    low, high = statistics.throughput_interval(pooled, hz)
    points[key] = statistics.summarize(pooled, hz) | {
      'throughput_low': low,
      'throughput_high': high,
      'by_seed': [{field: s[field] for field in _BY_SEED} for s in seeds],
    }
  return {
    'name': name,
    'seeds': len(workdirs),
    'points': points,
    'share_faster_than_all': [r['share_faster_than_all'] for r in reports],
    'commands': [r['command'] for r in reports],
    'commits': [r['commit'] for r in reports],
    'device': reports[0]['device'],
    'versions': reports[0]['versions'],
    'config': reports[0]['config'],
    'wall_clock_s': [r['wall_clock_s'] for r in reports],
    # None in reports of a version that did not have it.
    'practice': [r.get('practice') for r in reports],
    'human': [r.get('human') for r in reports],
  }


def markdown(variants: Sequence[Mapping[str, Any]]) -> str:
  """Returns one Markdown table of all points of all variants."""
  rows = [
    _row(variant['name'], key, point)
    for variant in variants
    for key, point in variant['points'].items()
  ]
  lines = (HEAD, ('---',) * len(HEAD), *rows)
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def along(
  variant: Mapping[str, Any], shown: str = 'mean'
) -> list[tuple[float, dict[str, Any]]]:
  """Returns (robot minutes, figures) of a policy, the VLA alone at 0.

  Args:
    variant: of `pool_seeds`.
    shown: the policy, 'mean' or 'exploring'.
  """
  points = variant['points']
  found = [(0.0, points['base'])] if 'base' in points else []
  for key, point in points.items():
    policy, _, minutes = key.partition('@')
    if policy == shown:
      found.append((float(minutes), point))
  return sorted(found, key=lambda item: item[0])


def _load(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns the contents of a finished run's two files."""
  for name in _FILES:
    if not (folder / name).exists():
      raise ValueError(f'A run must be finished: {name} is not in {folder}.')
  report, stored = (files.read_json(folder / name) for name in _FILES)
  return report, stored


def _row(name: str, key: str, point: Mapping[str, Any]) -> tuple[str, ...]:
  median = point['median_steps']
  rates = [seed['throughput_per_10min'] for seed in point['by_seed']]
  return (
    name,
    key,
    str(point['episodes']),
    f'{point["success"]:.2f} '
    f'({point["success_low"]:.2f}–{point["success_high"]:.2f})',
    '–' if median is None else f'{median:.0f}',
    f'{point["throughput_per_10min"]:.0f} ({min(rates):.0f}–{max(rates):.0f})',
  )
