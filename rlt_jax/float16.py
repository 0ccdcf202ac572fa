"""Weights as files hold them: rounded to float16, statistics in float32."""

from collections.abc import Mapping

import numpy as np


def pack(
  flat: Mapping[str, np.ndarray], statistics: str | None = None
) -> dict[str, np.ndarray]:
  """Returns arrays as they are stored, in order of name.

  Args:
    flat: arrays by name.
    statistics: names of statistics begin so; these keep float32, as they may
      lie beyond float16 and must not move by a rounding. None for none.

  Raises:
    ValueError: a number is not finite in its type; the text names the array.
  """
  packed = {}
  for name in sorted(flat):
    keep = statistics is not None and name.startswith(statistics)
    with np.errstate(over='ignore'):  # refused here, by name
      packed[name] = np.asarray(flat[name], np.float32 if keep else np.float16)
    if not np.isfinite(packed[name]).all():
      raise ValueError(f'Weights must be finite in float16: {name} is not.')
  return packed
