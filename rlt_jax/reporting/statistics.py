"""Figures of a set of finished episodes, with their uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rlt_jax.types import Outcome


class Episodes(NamedTuple):
  """M finished episodes, in the order they ended.

  success: bool [M].
  steps: int [M] control steps from reset to the end, at least 1.
  outcome: int [M] code of the ending, see `types.Outcome`; it is SUCCESS
    exactly where success is True.
  """

  success: np.ndarray
  steps: np.ndarray
  outcome: np.ndarray


def make_episodes(outcome: np.ndarray, steps: np.ndarray) -> Episodes:
  """Returns episodes from codes [M] and control steps [M] of their endings."""
  outcome = np.asarray(outcome, np.int32)
  return Episodes(
    success=outcome == Outcome.SUCCESS,
    steps=np.asarray(steps, np.int32),
    outcome=outcome,
  )


def to_plain(episodes: Episodes) -> dict[str, list[int]]:
  """Returns episodes as JSON can hold them; see `from_plain`."""
  return {
    'outcome': np.asarray(episodes.outcome).tolist(),
    'steps': np.asarray(episodes.steps).tolist(),
  }


def from_plain(stored: Mapping[str, Any]) -> Episodes:
  """Returns the episodes that `to_plain` stored."""
  return make_episodes(stored['outcome'], stored['steps'])


def pool(parts: Sequence[Episodes]) -> Episodes:
  """Returns the episodes of all parts as one set; at least one part."""
  return Episodes(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
  """Returns the Wilson interval (low, high) of a success rate.

  Args:
    successes, n: counts, 0 <= successes <= n, n at least 1.
    z: normal quantile; 1.96 covers 95 %.

  Raises:
    ValueError: the counts contradict each other.
  """
  if not 0 <= successes <= n or n < 1:
    raise ValueError(
      f'Counts must satisfy 0 <= successes <= n, n >= 1: {successes}, {n}.'
    )
  coverage = 1.0 - 2.0 * stats.norm.sf(z)
  interval = stats.binomtest(successes, n).proportion_ci(coverage, 'wilson')
  return float(interval.low), float(interval.high)


def difference_interval(
  first: np.ndarray, second: np.ndarray
) -> tuple[float, float]:
  """Returns the 95 % interval of the difference of two success rates.

  Newcombe's interval from the two Wilson intervals (method 10 in Statistics in
  Medicine 17, 873-890, 1998). The trials count as independent.

  Args:
    first, second: bool [M], [N], at least one each.

  Returns:
    (low, high) of the first rate minus the second.
  """
  (p, low_p, high_p), (q, low_q, high_q) = (
    (float(np.mean(x)), *wilson(int(np.sum(x)), len(x)))
    for x in (first, second)
  )
  return (
    p - q - float(np.hypot(p - low_p, high_q - q)),
    p - q + float(np.hypot(high_p - p, q - low_q)),
  )


def median_interval(
  values: np.ndarray, coverage: float = 0.95
) -> tuple[float | None, float | None]:
  """Returns the order statistics that enclose the median of `values` [M].

  No assumption on the distribution; (None, None) where M is too small for the
  coverage (below 6 for 95 %).
  """
  if not len(values):
    return None, None
  ends = stats.quantile_test(values, p=0.5).confidence_interval(coverage)
  if np.isnan(ends).any():
    return None, None
  return float(ends.low), float(ends.high)


def throughput_per_10min(episodes: Episodes, control_hz: float) -> float:
  """Returns successes per ten minutes of control steps.

  Failures count as time spent; resets do not.

  Args:
    episodes: at least one.
    control_hz: control steps per second.
  """
  ten_minutes = 600.0 * control_hz
  wins = int(np.sum(episodes.success))
  return wins / float(np.sum(episodes.steps)) * ten_minutes


def throughput_interval(
  episodes: Episodes, control_hz: float, coverage: float = 0.95
) -> tuple[float, float]:
  """Returns the bootstrap interval of `throughput_per_10min` over episodes.

  The same episodes give the same interval.

  Args:
    episodes: at least one.
    control_hz: control steps per second.
    coverage: of the interval.
  """
  rng = np.random.default_rng(0)
  drawn = rng.integers(len(episodes.steps), size=(2000, len(episodes.steps)))
  wins = np.asarray(episodes.success)[drawn].sum(axis=1)
  rates = wins / np.asarray(episodes.steps)[drawn].sum(axis=1)
  tail = 50.0 * (1.0 - coverage)
  low, high = np.percentile(rates, (tail, 100.0 - tail)) * 600.0 * control_hz
  return float(low), float(high)


def summarize(
  episodes: Episodes,
  control_hz: float,
  outcomes: Sequence[str] = (),
) -> dict[str, object]:
  """Returns the figures of `episodes` as plain Python numbers.

  Step figures (median, interval, mean, 10th and 90th percentile) are over
  successes and None without one.

  Args:
    episodes: at least one.
    control_hz: control steps per second, for the throughput.
    outcomes: the task's names of outcomes by code. The entry 'outcomes' counts
      the episodes of each; without names it is left out.

  Raises:
    ValueError: no episode, columns that contradict each other, or an outcome
      without a name.
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
  summary = {
    'episodes': n,
    'success': wins / n,
    'success_low': low,
    'success_high': high,
    'median_steps': median,
    'throughput_per_10min': throughput_per_10min(episodes, control_hz),
    'median_low': median_low,
    'median_high': median_high,
    'mean_steps': float(np.mean(steps)) if wins else None,
    'p10_steps': p10,
    'p90_steps': p90,
  }
  if outcomes:
    summary['outcomes'] = count_outcomes(episodes, outcomes)
  return summary


def count_outcomes(
  episodes: Episodes, outcomes: Sequence[str]
) -> dict[str, int]:
  """Returns how many episodes ended with each outcome, by name.

  Raises:
    ValueError: an outcome without a name.
  """
  codes = np.asarray(episodes.outcome)
  if codes.size and codes.max() >= len(outcomes):
    raise ValueError(
      f'outcome must be below {len(outcomes)}, one of {tuple(outcomes)}: '
      f'{int(codes.max())}.'
    )
  return {name: int(np.sum(codes == i)) for i, name in enumerate(outcomes)}


def describe(episodes: Episodes, control_hz: float) -> str:
  """Returns success, median and throughput in one line."""
  s = summarize(episodes, control_hz)
  median = '-' if s['median_steps'] is None else f'{s["median_steps"]:.0f}'
  return (
    f'success {s["success"]:.2f} ({s["success_low"]:.2f}-'
    f'{s["success_high"]:.2f}) of {s["episodes"]}, median {median} steps, '
    f'{s["throughput_per_10min"]:.0f} per 10 min'
  )


def share_faster_than_all(
  episodes: Episodes, demonstrations: Episodes
) -> float:
  """Returns the share of all trials that beat every demonstration.

  A trial counts when it succeeds in fewer steps than the fastest successful
  demonstration; failures stay in the denominator.

  Raises:
    ValueError: no trial, or no successful demonstration.
  """
  check(episodes)
  check(demonstrations)
  success = np.asarray(demonstrations.success)
  if len(episodes.success) == 0 or not success.any():
    raise ValueError(
      'A share needs a trial and a successful demonstration: '
      f'{len(episodes.success)}, {int(success.sum())}.'
    )
  best = np.min(np.asarray(demonstrations.steps)[success])
  return float(np.mean(episodes.success & (np.asarray(episodes.steps) < best)))


def check(episodes: Episodes) -> None:
  """Raises ValueError if the columns of `episodes` contradict each other."""
  success, steps, outcome = (np.asarray(column) for column in episodes)
  shapes = [column.shape for column in (success, steps, outcome)]
  if len(set(shapes)) != 1 or success.ndim != 1 or success.dtype != bool:
    raise ValueError(
      f'Columns must be one [M] each, success bool: {shapes}, {success.dtype}.'
    )
  if np.any(steps < 1):
    raise ValueError(f'steps must be at least 1: {int(np.min(steps))}.')
  if np.any(outcome < 0):
    raise ValueError(f'outcome must not be negative: {np.unique(outcome)}.')
  if np.any(success != (outcome == Outcome.SUCCESS)):
    row = int(np.argmax(success != (outcome == Outcome.SUCCESS)))
    raise ValueError(
      f'success must mean outcome {Outcome.SUCCESS}: '
      f'row {row} has {bool(success[row])}, {int(outcome[row])}.'
    )
