"""Results of a run on the robot, written after every episode."""

from collections.abc import Mapping
import errno
import json
import os
import pathlib
from typing import Any

from rlt_jax.robot.control.telemetry import EpisodeRecord
from rlt_jax.robot.episode import EpisodeResult
from rlt_jax.robot.outcomes import EpisodeOutcome

FILE = 'episodes.jsonl'
_FULL = (errno.ENOSPC, errno.EDQUOT)


class RunResults:
  """One row per episode; each is on the disk once `flush` says so.

  episodes: the rows so far. record: of the loop in all episodes, None before
  the first. by_mode: in those of each mode; the learner works in 'practice'
  only.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    """Opens `FILE` in the folder and goes on after its rows.

    An incomplete last row, which a killed process left, is cut off.

    Raises:
      ValueError: a row that is none of a run.
    """
    self._path = pathlib.Path(folder) / FILE
    self.episodes: list[dict[str, Any]] = []
    self.record: EpisodeRecord | None = None
    self.by_mode: dict[str, EpisodeRecord] = {}
    self._fd = os.open(
      self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
    )
    content = self._path.read_bytes()
    self._size = content.rfind(b'\n') + 1
    os.ftruncate(self._fd, self._size)
    for number, line in enumerate(content[: self._size].splitlines(), 1):
      self._read(line, number)
    self._unwritten: list[bytes] = []

  def add(
    self,
    result: EpisodeResult,
    record: EpisodeRecord,
    *,
    chunks: Mapping[str, Any],
    **about: Any,
  ) -> None:
    """Adds an episode; call `flush` until it is on the disk.

    Args:
      result: of the episode.
      record: of the loop in it.
      chunks: counts of the chunk buffer.
      **about: other columns of its row.
    """
    row = result._asdict() | about
    self._count(row, record)
    whole = row | {'loop': record.to_dict(), 'chunks': dict(chunks)}
    self._unwritten.append(json.dumps(whole).encode() + b'\n')

  def flush(self) -> str:
    """Writes what is not on the disk; returns '', or that the disk is full."""
    while self._unwritten:
      try:
        rest = memoryview(self._unwritten[0])
        while rest:
          rest = rest[os.write(self._fd, rest) :]
        os.fsync(self._fd)
      except OSError as error:
        os.ftruncate(self._fd, self._size)
        if error.errno not in _FULL:
          raise
        return f'The disk of {self._path} is full: the episode waits for room.'
      self._size += len(self._unwritten.pop(0))
    return ''

  def close(self) -> None:
    """Closes the file."""
    os.close(self._fd)

  def _count(self, row: dict[str, Any], record: EpisodeRecord) -> None:
    if self.record is None:
      self.record = record.make_empty()
    by_mode = self.by_mode.setdefault(row['mode'], record.make_empty())
    for total in (self.record, by_mode):
      total.merge(record)
    self.episodes.append(row)

  def _read(self, line: bytes, number: int) -> None:
    try:
      row = json.loads(line)
      record = EpisodeRecord.from_dict(row.pop('loop'))
      del row['chunks']
      row['outcome'] = EpisodeOutcome(row['outcome'])
      if missing := {*EpisodeResult._fields, 'practice_steps'} - set(row):
        raise ValueError(f'without {sorted(missing)}')
      self._count(row, record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'{self._path} must have a row of an episode in line {number}: '
        f'{error!r}.'
      ) from None
