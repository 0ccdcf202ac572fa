"""The metrics of a training: a line of JSON each."""

import json
import pathlib
from typing import Any

from rlt_jax import files
from rlt_jax.sitting import Sitting

_METRICS = 'metrics.jsonl'


class TrainingLog:
  """Writes metrics.jsonl of a training's folder."""

  def __init__(self, folder: pathlib.Path, sitting: Sitting):
    """Writes nothing yet.

    Args:
      folder: of the training.
      sitting: says from which step it goes on; is told of a full disk.
    """
    self._file, self._sitting = folder / _METRICS, sitting
    self._rows: list[dict[str, Any]] | None = None

  def add(self, metrics: dict[str, float]) -> None:
    """Adds a line; `metrics` has 'step'."""
    try:
      if self._rows is None:
        self._rows = _read_rows(self._file, self._sitting.first_step)
      self._rows.append(metrics)
      # Whole, as a line that a full disk cut would spoil the file.
      files.write_atomically(self._file, ''.join(map(_line, self._rows)))
    except OSError as error:
      self._sitting.say(f'{self._file} could not be written: {error}.')


def _line(row: dict[str, Any]) -> str:
  return json.dumps(row) + '\n'


def _read_rows(file: pathlib.Path, last_step: int) -> list[dict[str, Any]]:
  """Returns the rows up to a step, which is where a resumed training goes on.

  A line that is no such row, as a damaged disk leaves, is left out.
  """
  rows = []
  if last_step and file.exists():
    for line in file.read_bytes().split(b'\n'):
      try:
        row = json.loads(line)
        rows += [row] if row['step'] <= last_step else []
      except (ValueError, KeyError, TypeError):
        continue
  return rows
