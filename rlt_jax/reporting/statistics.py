"""What a set of finished episodes says, with the uncertainty it has."""

from typing import NamedTuple

import numpy as np
from scipy import stats

OUTCOMES = ('time_out', 'success', 'force_limit', 'drop')
TIME_OUT, SUCCESS, FORCE_LIMIT, DROP = range(len(OUTCOMES))


class Episodes(NamedTuple):
  """M finished episodes, in the order they ended.

  success: bool [M].
  steps: int [M] control steps from reset to the end, at least 1.
  outcome: int [M], index into `OUTCOMES`; 1 exactly where success.
  """

  success: np.ndarray
  steps: np.ndarray
  outcome: np.ndarray


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
  """Returns the Wilson interval (low, high) of a success rate.

  Args:
    successes, n: counts, 0 <= successes <= n, n at least 1.
    z: normal quantile; 1.96 covers 95 %.

  Raises:
    ValueError: the counts do not fit together.
  """
  if not 0 <= successes <= n or n < 1:
    raise ValueError(
      f'Counts must satisfy 0 <= successes <= n, n >= 1: {successes}, {n}.'
    )
  rate = successes / n
  scale = 1.0 + z**2 / n
  centre = (rate + z**2 / (2 * n)) / scale
  half = z / scale * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
  # Rounding must not push an end past what a rate can be.
  return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def median_interval(
  values: np.ndarray, coverage: float = 0.95
) -> tuple[float | None, float | None]:
  """Returns the order statistics that enclose the median of `values` [M].

  No assumption on the distribution; (None, None) where M is too small for the
  coverage (below 6 for 95 %).
  """
  values = np.sort(np.asarray(values))
  tail = (1.0 - coverage) / 2
  rank = int(stats.binom.ppf(tail, len(values), 0.5)) if len(values) else 0
  if rank == 0:
    return None, None
  return float(values[rank - 1]), float(values[-rank])


def summarize(episodes: Episodes, control_hz: float = 50) -> dict[str, object]:
  """Returns the figures of `episodes` as plain Python numbers.

  Step figures (median, interval, mean, 10th and 90th percentile) are over
  successes and None without one. Throughput counts successes per ten minutes
  of control steps, failures included and resets excluded.

  Raises:
    ValueError: no episode, or columns that contradict each other.
  """
  check(episodes)
  n, wins = len(episodes.success), int(np.sum(episodes.success))
  if n == 0:
    raise ValueError('A summary needs at least one episode: 0.')
  low, high = wilson(wins, n)
  steps = np.asarray(episodes.steps)[np.asarray(episodes.success)]
  median_low, median_high = median_interval(steps)
  p10, median, p90 = (
    (float(v) for v in np.percentile(steps, (10, 50, 90)))
    if wins
    else (None, None, None)
  )
  ten_minutes = 600.0 * control_hz
  total = float(np.sum(episodes.steps))
  return {
    'episodes': n,
    'success': wins / n,
    'success_low': low,
    'success_high': high,
    'median_steps': median,
    'throughput_per_10min': wins / total * ten_minutes,
    'median_low': median_low,
    'median_high': median_high,
    'mean_steps': float(np.mean(steps)) if wins else None,
    'p10_steps': p10,
    'p90_steps': p90,
    'outcomes': {
      name: int(np.sum(np.asarray(episodes.outcome) == i))
      for i, name in enumerate(OUTCOMES)
    },
  }


def share_faster_than_all(episodes: Episodes, teacher: Episodes) -> float:
  """Returns the share of all trials that beat every demonstration.

  A trial counts when it succeeds in fewer steps than the fastest successful
  demonstration; failures stay in the denominator.

  Raises:
    ValueError: no trial, or no successful demonstration.
  """
  check(episodes)
  check(teacher)
  if len(episodes.success) == 0 or not np.any(teacher.success):
    raise ValueError(
      'A share needs a trial and a successful demonstration: '
      f'{len(episodes.success)}, {int(np.sum(teacher.success))}.'
    )
  best = np.min(np.asarray(teacher.steps)[np.asarray(teacher.success)])
  return float(np.mean(episodes.success & (np.asarray(episodes.steps) < best)))


def check(episodes: Episodes) -> None:
  """Raises ValueError where the columns of `episodes` contradict each other."""
  success, steps, outcome = (np.asarray(column) for column in episodes)
  shapes = [column.shape for column in (success, steps, outcome)]
  if len(set(shapes)) != 1 or success.ndim != 1 or success.dtype != bool:
    raise ValueError(
      f'Columns must be one [M] each, success bool: {shapes}, {success.dtype}.'
    )
  if np.any(steps < 1):
    raise ValueError(f'steps must be at least 1: {int(np.min(steps))}.')
  if np.any((outcome < 0) | (outcome >= len(OUTCOMES))):
    raise ValueError(f'outcome must be in 0..3: {np.unique(outcome)}.')
  if np.any(success != (outcome == SUCCESS)):
    row = int(np.argmax(success != (outcome == SUCCESS)))
    raise ValueError(
      'success must mean outcome 1: '
      f'row {row} has {bool(success[row])}, {int(outcome[row])}.'
    )
