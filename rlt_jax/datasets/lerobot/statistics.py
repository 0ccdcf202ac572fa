"""Statistics of a LeRobot dataset's columns, over all of their frames.

The quantiles are those of all frames together. LeRobot averages the quantiles
of the episodes, which is another number: what is constant within episodes and
differs between them gets a width of nearly zero, by which pi0.5 divides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = {'q01': 0.01, 'q10': 0.1, 'q50': 0.5, 'q90': 0.9, 'q99': 0.99}
_CHANNELS, _LEVELS = 3, 256
Statistics = dict[str, np.ndarray]


def of_numbers(values: np.ndarray) -> Statistics:
  """Returns the statistics of a column.

  Args:
    values: numbers or bool [F, n] of at least one frame.

  Returns:
    'min', 'max', 'mean', 'std' and QUANTILES, float64 [n], and 'count',
    int64 [1], the frames.
  """
  values = np.asarray(values, np.float64)
  return {
    'min': values.min(0),
    'max': values.max(0),
    'mean': values.mean(0),
    'std': values.std(0),
    'count': np.array([len(values)]),
  } | {
    name: np.quantile(values, share, axis=0)
    for name, share in QUANTILES.items()
  }


def histogram(image: np.ndarray) -> np.ndarray:
  """Returns how often each level occurs, int64 [3, 256].

  Args:
    image: uint8 [height, width, 3].
  """
  levels = image.reshape(-1, _CHANNELS).astype(np.int64)
  counts = np.bincount(
    (levels + _LEVELS * np.arange(_CHANNELS)).ravel(),
    minlength=_CHANNELS * _LEVELS,
  )
  return counts.reshape(_CHANNELS, _LEVELS)


def of_pixels(counts: np.ndarray, num_frames: int) -> Statistics:
  """Returns the statistics of a camera's pixels.

  Args:
    counts: int [3, 256], the sum of `histogram` over all frames.
    num_frames: how many frames.

  Returns:
    As `of_numbers`, with shapes [3, 1, 1] and levels from 0 to 1.
  """
  levels = np.arange(_LEVELS) / (_LEVELS - 1)
  share = counts / counts.sum(1, keepdims=True)
  mean = share @ levels
  spread = (levels - mean[:, None]) ** 2
  found = {
    'min': np.array([levels[np.flatnonzero(x)[0]] for x in counts]),
    'max': np.array([levels[np.flatnonzero(x)[-1]] for x in counts]),
    'mean': mean,
    'std': np.sqrt((share * spread).sum(1)),
  } | {
    name: np.array([_quantile(x, q, levels) for x in counts])
    for name, q in QUANTILES.items()
  }
  found = {name: x[:, None, None] for name, x in found.items()}
  return found | {'count': np.array([num_frames])}


def _quantile(counts: np.ndarray, share: float, levels: np.ndarray) -> float:
  """Returns a quantile as `np.quantile` has it, of numbers that are counted."""
  below = np.cumsum(counts)
  position = share * (below[-1] - 1)
  lower = int(position)
  first, second = (
    levels[np.searchsorted(below, rank, side='right')]
    for rank in (lower, min(lower + 1, below[-1] - 1))
  )
  return float(first + (second - first) * (position - lower))


def to_json(
  columns: Mapping[str, Statistics], keys: Sequence[str]
) -> dict[str, Any]:
  """Returns the content of meta/stats.json, with the columns in this order."""
  return {
    key: {name: x.tolist() for name, x in columns[key].items()} for key in keys
  }
