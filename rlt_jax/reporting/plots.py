"""The plots of a report, drawn without matplotlib's global state."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from rlt_jax import files
from rlt_jax.reporting import statistics

_BASE, _DEMONSTRATIONS = '#777777', '#d98b00'
_FINAL, _EXPLORING = '#0072b2', '#56b4e9'
_DPI = 130
# Metric name -> axis label; the names are those of metrics.jsonl.
TRAINING_CURVES = {
  'success': 'success\n(last episodes)',
  'throughput_per_10min': 'successes\nper 10 min',
  'q_mean': 'mean Q',
  'beta_ratio': 'beta ratio',
}
_PathLike = str | os.PathLike[str]


def save_steps(
  path: _PathLike,
  groups: Mapping[str, statistics.Episodes],
  control_hz: float,
) -> None:
  """Saves histograms of the steps to success, one panel per group.

  Args:
    path: of the PNG.
    groups: 'demonstrations', 'base' or 'after practice' -> episodes; drawn in
      this order.
    control_hz: control steps per second, for the second axis.
  """
  colors = {
    'demonstrations': _DEMONSTRATIONS,
    'base': _BASE,
    'after practice': _FINAL,
  }
  wins = {name: group.steps[group.success] for name, group in groups.items()}
  everything = np.concatenate(list(wins.values()))
  top = float(np.max(everything)) if len(everything) else 1.0
  bins = np.linspace(0.0, 1.02 * top, 41)
  figure, axes = _panels(len(wins), height=1.5, top=0.9)
  for axis, (name, steps) in zip(axes, wins.items(), strict=True):
    axis.hist(steps, bins=bins, color=colors.get(name, _BASE), alpha=0.85)
    trials = len(groups[name].success)
    label = f'{name}: {len(steps)} of {trials} succeed'
    if len(steps):
      median = float(np.median(steps))
      axis.axvline(median, color='black', linewidth=1.5)
      label += f', median {median:.0f} steps ({median / control_hz:.1f} s)'
    axis.set_title(label, loc='left', fontsize=9.5)
    axis.set_ylabel('episodes')
    axis.yaxis.get_major_locator().set_params(integer=True)
  axes[-1].set_xlabel('control steps to success')
  axes[-1].set_xlim(0.0, bins[-1])
  _save(figure, path)


def save_learning(
  path: _PathLike,
  minutes: Sequence[float],
  mean: Sequence[Mapping[str, Any]],
  exploring: Sequence[Mapping[str, Any] | None],
  base: Mapping[str, Any],
  demonstrations: Mapping[str, Any] | None,
) -> None:
  """Saves success (with its 95 % interval) and throughput against practice.

  Args:
    path: of the PNG.
    minutes: robot minutes of each evaluation.
    mean, exploring: its summaries, without and with exploration noise.
    base, demonstrations: summaries drawn as levels.
  """
  figure, axes = _panels(2, height=2.3, top=0.5)
  levels = [('base', _BASE, base)]
  if demonstrations is not None:
    levels.append(('demonstrations', _DEMONSTRATIONS, demonstrations))
  for axis, name in zip(axes, ('success', 'throughput_per_10min'), strict=True):
    for label, color, level in levels:
      axis.axhline(level[name], color=color, linestyle='--', label=label)
    noisy = [(m, e[name]) for m, e in zip(minutes, exploring, strict=True) if e]
    if noisy:
      axis.plot(
        *zip(*noisy, strict=True),
        color=_EXPLORING,
        marker='o',
        markersize=3,
        linewidth=1,
        label='exploring',
      )
    axis.plot(
      minutes,
      [s[name] for s in mean],
      color=_FINAL,
      marker='o',
      label='without noise',
    )
    axis.margins(y=0.12)
  low, high = ([s[f'success_{end}'] for s in mean] for end in ('low', 'high'))
  axes[0].fill_between(minutes, low, high, color=_FINAL, alpha=0.18)
  axes[0].fill_between(
    [min(minutes), max(minutes)],
    base['success_low'],
    base['success_high'],
    color=_BASE,
    alpha=0.12,
  )
  _label_learning(axes, ncols=4)
  _save(figure, path)


def _label_learning(
  axes: Sequence[Any], *, ncols: int, band: str = '', dots: str = ''
) -> None:
  """Labels axes of success and of throughput against practice."""
  axes[0].set_ylim(-0.03, 1.03)
  axes[0].set_ylabel('success (95 % band)')
  axes[1].set_ylim(bottom=0.0)
  axes[1].set_ylabel(f'successes per 10 min{band}')
  axes[1].set_xlabel(f'robot minutes of practice{dots}')
  axes[0].legend(
    loc='lower left',
    bbox_to_anchor=(0.0, 1.0),
    ncols=ncols,
    fontsize=8.5,
    frameon=False,
  )


def save_variants(
  path: _PathLike,
  curves: Mapping[str, Sequence[tuple[float, Mapping[str, Any]]]],
) -> None:
  """Saves success and throughput of variants against practice.

  The bands are 95 % intervals over the pooled episodes, the dots single seeds.

  Args:
    path: of the PNG.
    curves: name of a variant -> (robot minutes, figures) in the order of the
      minutes, as of `pooling.along`; at least one.
  """
  figure, axes = _panels(2, height=2.5, top=0.4 + 0.15 * len(curves))
  ends = ('success', 'success'), ('throughput_per_10min', 'throughput')
  for index, (name, points) in enumerate(curves.items()):
    color = f'C{index % 10}'
    minutes = [m for m, _ in points]
    for axis, (figure_name, interval) in zip(axes, ends, strict=True):
      axis.plot(
        minutes,
        [p[figure_name] for _, p in points],
        color=color,
        marker='o',
        markersize=4,
        label=name,
      )
      axis.fill_between(
        minutes,
        [p[f'{interval}_low'] for _, p in points],
        [p[f'{interval}_high'] for _, p in points],
        color=color,
        alpha=0.15,
        linewidth=0,
      )
      seeds = [
        (m, seed[figure_name]) for m, p in points for seed in p['by_seed']
      ]
      axis.scatter(*zip(*seeds, strict=True), color=color, s=6, alpha=0.6)
  _label_learning(
    axes,
    ncols=3,
    band='\n(95 % band)',
    dots='; dots are single seeds',
  )
  _save(figure, path)


def save_training(
  path: _PathLike, rows: Sequence[Mapping[str, Any]], control_hz: float
) -> bool:
  """Saves the curves of metrics.jsonl; returns False where none is in it.

  Args:
    path: of the PNG.
    rows: of metrics.jsonl; the names in `TRAINING_CURVES` are drawn.
    control_hz: control steps per second, for minutes.
  """
  curves = {}
  for name in TRAINING_CURVES:
    points = [
      (row['env_steps'] / control_hz / 60, row[name])
      for row in rows
      if row.get(name) is not None
    ]
    if points:
      curves[name] = np.array(points).T
  if not curves:
    return False
  figure, axes = _panels(len(curves), height=1.3, top=0.4)
  for axis, (name, (minutes, values)) in zip(axes, curves.items(), strict=True):
    axis.plot(minutes, values, color=_FINAL, linewidth=1.2)
    axis.set_ylabel(TRAINING_CURVES[name], fontsize=8.5)
  if 'success' in curves:
    axes[list(curves).index('success')].set_ylim(-0.05, 1.05)
  axes[-1].set_xlabel('robot minutes')
  _save(figure, path)
  return True


def _save(figure: Figure, path: _PathLike) -> None:
  with files.open_atomically(path) as file:
    figure.savefig(file, dpi=_DPI, format='png')


def _panels(n: int, *, height: float, top: float) -> tuple[Figure, list[Axes]]:
  """Returns a figure of `n` panels (inches) above each other, sharing x."""
  figure = Figure(figsize=(7.2, n * height + top), layout='constrained')
  grid = figure.subplots(n, 1, sharex=True, squeeze=False)
  axes = list(grid[:, 0])
  for axis in axes:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
  figure.align_ylabels(axes)
  return figure, axes
