"""Fixed-bin histograms of durations."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

# From 10 us to 100 s, each bin 12 % wider than the one before. Two more bins
# count what is below and above.
_EDGES = np.logspace(-5.0, 2.0, 7 * 20 + 1)
_NAMES = [f'{edge:.3g}' for edge in (*_EDGES, math.inf)]


class Histogram:
  """Counts of durations in fixed bins, so that histograms can be added.

  A quantile is the upper edge of its bin: up to 12 % too long, never too short.
  """

  def __init__(self):
    self.counts = np.zeros(len(_EDGES) + 1, np.int64)
    self.worst = -math.inf

  def add(self, value: float) -> None:
    """Adds one duration, s; NaN is not counted."""
    if math.isnan(value):
      return
    self.counts[np.searchsorted(_EDGES, value)] += 1
    self.worst = max(self.worst, value)

  def merge(self, other: 'Histogram') -> None:
    """Adds the counts of another histogram."""
    self.counts += other.counts
    self.worst = max(self.worst, other.worst)

  def quantile(self, q: float) -> float | None:
    """Returns the duration, s, that a share `q` of all did not exceed.

    Args:
      q: in (0, 1].

    Returns:
      None if nothing was counted.
    """
    total = int(self.counts.sum())
    if not total:
      return None
    i = int(np.searchsorted(np.cumsum(self.counts), math.ceil(q * total)))
    return min(float(_EDGES[i]), self.worst) if i < len(_EDGES) else self.worst

  def to_dict(self) -> dict[str, Any]:
    """Returns the count of each non-empty bin by its upper edge, s."""
    return {_NAMES[i]: int(self.counts[i]) for i in np.flatnonzero(self.counts)}

  @classmethod
  def from_dict(
    cls, counts: Mapping[str, int], worst: float | None
  ) -> 'Histogram':
    """Returns the histogram of `to_dict` and its longest duration, s.

    Raises:
      ValueError: an edge that no bin has.
    """
    found = cls()
    for name, count in counts.items():
      if name not in _NAMES:
        raise ValueError(f'A bin must have an edge of a histogram: {name!r}.')
      found.counts[_NAMES.index(name)] = count
    if worst is not None:
      found.worst = worst
    return found
