"""Control steps of a shadow run, on the disk as they come."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.control.telemetry import LoopStep

FILE = 'shadow.jsonl'
_DECIMALS = 7  # rad or m: far below what an arm can measure
_ARRAYS = ('wanted', 'asked', 'measured')


class ShadowRow(NamedTuple):
  """One control step; arrays are [A], in joint units, NaN where absent.

  time, source, verdict, wanted, measured: see `LoopStep`. limited: the safety
  limits changed the command. asked: what would have been sent.
  """

  time: float
  source: str
  verdict: str
  limited: bool
  wanted: np.ndarray
  asked: np.ndarray
  measured: np.ndarray

  @classmethod
  def of(cls, step: LoopStep, asked: np.ndarray) -> 'ShadowRow':
    """Returns the row of a step in which `asked` [A] would have been sent."""
    return cls(
      time=step.time,
      source=str(step.source),
      verdict=step.verdict,
      limited=bool(step.changed.any()),
      wanted=step.wanted,
      asked=asked,
      measured=step.measured,
    )


class ShadowRows:
  """Adds rows to `FILE`, also to those of a run that was ended before.

  rows: all of them.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    """Opens the file; an incomplete last row of a killed process is cut off.

    Raises:
      ValueError: a line that is no row.
    """
    self._path = pathlib.Path(folder) / FILE
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    self._fd = os.open(self._path, flags, 0o666)
    content = self._path.read_bytes()
    self._size = content.rfind(b'\n') + 1
    os.ftruncate(self._fd, self._size)
    lines = content[: self._size].splitlines()
    self.rows = [self._read(x, i) for i, x in enumerate(lines, 1)]
    self._unwritten = b''

  def add(self, row: ShadowRow) -> None:
    """Adds a row; it is on the disk at once, unless that is full."""
    self.rows.append(row)
    values = row._asdict()
    for name in _ARRAYS:
      values[name] = np.round(values[name], _DECIMALS).tolist()
    self._unwritten += json.dumps(values).encode() + b'\n'
    try:
      written = os.write(self._fd, self._unwritten)
    except OSError:  # the row is kept, and tried again with the next one
      return
    self._unwritten = self._unwritten[written:]

  def close(self) -> None:
    """Closes the file."""
    os.close(self._fd)

  def _read(self, line: bytes, number: int) -> ShadowRow:
    try:
      values: dict[str, Any] = json.loads(line)
      for name in _ARRAYS:
        values[name] = np.array(values[name], np.float64)
      return ShadowRow(**values)
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'{self._path} must have a row of a shadow run in line {number}: '
        f'{error!r}.'
      ) from None
