"""Normalization of state and actions by a checkpoint's norm_stats.json."""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from rlt_jax.types import Array

_FILE = 'norm_stats.json'
_STD_FLOOR = 1e-6  # openpi's, added to a deviation or a range
_FIELDS = ('mean', 'std', 'q01', 'q99')


class Range(NamedTuple):
  """What maps to 0 and to 1 in normalized numbers, less 0; both [n].

  π0 normalizes by mean and deviation, π0.5 by the middle and half the distance
  of the 1 % and 99 % quantiles. Neither clips.
  """

  center: np.ndarray
  unit: np.ndarray

  def normalize(self, x: Array) -> Array:
    """Maps [..., n] to normalized numbers."""
    return (x - self.center) / self.unit

  def restore(self, x: Array) -> Array:
    """Maps normalized numbers [..., n] back."""
    return x * self.unit + self.center


class Moments(NamedTuple):
  """Statistics of one of the two, all float64 [n]; quantiles may be None."""

  mean: np.ndarray
  std: np.ndarray
  q01: np.ndarray | None = None
  q99: np.ndarray | None = None

  def by_deviation(self) -> Range:
    """Returns π0's normalization."""
    return Range(self.mean, self.std + _STD_FLOOR)

  def by_quantiles(self) -> Range:
    """Returns π0.5's normalization."""
    half = (self.q99 - self.q01 + _STD_FLOOR) / 2.0
    return Range(self.q01 + half, half)


class Statistics(NamedTuple):
  """Of the robot's entries, in the checkpoint's units and order."""

  state: Moments
  actions: Moments


def find(checkpoint: str | pathlib.Path, asset_id: str) -> pathlib.Path:
  """Returns the statistics' file of a checkpoint.

  Raises:
    ValueError: no such file; the asset ids that are there are named.
  """
  assets = pathlib.Path(checkpoint) / 'assets'
  path = assets / asset_id / _FILE
  if path.is_file():
    return path
  there = sorted(
    str(file.parent.relative_to(assets)) for file in assets.rglob(_FILE)
  )
  raise ValueError(
    f'A checkpoint must hold its statistics at {path}; without them every '
    f'number would be wrong. Its assets are {there}: set asset_id to one of '
    "them, or copy openpi's assets folder there."
  )


def read(
  path: str | pathlib.Path, entries: int, *, quantiles: bool
) -> Statistics:
  """Reads the statistics of a robot's entries.

  Args:
    path: of a norm_stats.json.
    entries: n, of the robot. More are accepted if they are all zeros, as
      padding is.
    quantiles: whether the 1 % and 99 % quantiles are needed.

  Raises:
    ValueError: not such a file, or statistics of another length.
  """
  try:
    table = json.loads(pathlib.Path(path).read_text('utf-8'))['norm_stats']
    rows = {name: table[name] for name in Statistics._fields}
  except (ValueError, KeyError, TypeError):
    raise ValueError(
      f"{path} must be JSON with 'norm_stats', and in it 'state' and 'actions'."
    ) from None
  return Statistics(
    *(_read_moments(rows[n], n, entries, quantiles, path) for n in rows)
  )


def write(path: str | pathlib.Path, statistics: Statistics) -> None:
  """Writes a norm_stats.json; its folder is made if missing."""
  path = pathlib.Path(path)
  table = {
    name: {
      field: None if value is None else np.asarray(value, float).tolist()
      for field, value in moments._asdict().items()
    }
    for name, moments in statistics._asdict().items()
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps({'norm_stats': table}, indent=2) + '\n', 'utf-8')


def measure(state: np.ndarray, actions: np.ndarray) -> Statistics:
  """Measures the statistics of states [F, n] and action steps [G, n]."""

  def moments(x):
    x = np.asarray(x, np.float64)
    q01, q99 = np.quantile(x, (0.01, 0.99), axis=0)
    return Moments(x.mean(0), x.std(0), q01, q99)

  return Statistics(moments(state), moments(actions))


def _read_moments(table, name, entries, quantiles, path):
  needed = _FIELDS if quantiles else _FIELDS[:2]
  columns = {}
  for field in needed:
    where = f'{name}.{field} of {path}'
    values = table.get(field) if isinstance(table, dict) else None
    if values is None:
      text = ' π0.5 normalizes by quantiles:' if field in _FIELDS[2:] else ''
      raise ValueError(
        f'{where} must be a list of numbers; it is missing.{text} compute '
        "them with openpi's scripts/compute_norm_stats.py."
      )
    try:
      values = np.array(values, np.float64)
    except (ValueError, TypeError):
      raise ValueError(f'{where} must be a list of numbers.') from None
    if values.ndim != 1 or len(values) < entries or values[entries:].any():
      raise ValueError(
        f'{where} must have an entry for each of the {entries} joints of the '
        'configuration, or zeros behind them: '
        f'{np.count_nonzero(values)} of its {values.size} are not zero. List '
        'the joints that this checkpoint was trained on.'
      )
    if not np.isfinite(values).all():
      raise ValueError(f'{where} must be finite: {values.tolist()}.')
    columns[field] = values[:entries]
  if (columns['std'] < 0.0).any():
    raise ValueError(f'{name}.std of {path} must not be negative.')
  if quantiles and (columns['q99'] < columns['q01']).any():
    raise ValueError(f'{name}.q99 of {path} must not be below q01.')
  return Moments(**columns)
