"""Results of a run on the robot, written after every episode."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

from rlt_jax.robot.control.telemetry import EpisodeRecord
from rlt_jax.robot.episode import EpisodeResult

FILE = 'episodes.jsonl'


class RunResults:
  """One row per episode; each is on the disk as soon as it is added.

  episodes: the rows so far. record: of the loop in all episodes, None before
  the first. by_mode: in those of each mode; the learner works in 'practice'
  only.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    """Opens `FILE` in the folder, to add to it."""
    self._file = (pathlib.Path(folder) / FILE).open('a')
    self.episodes: list[dict[str, Any]] = []
    self.record: EpisodeRecord | None = None
    self.by_mode: dict[str, EpisodeRecord] = {}

  def add(
    self,
    result: EpisodeResult,
    record: EpisodeRecord,
    *,
    chunks: Mapping[str, Any],
    **about: Any,
  ) -> None:
    """Adds an episode.

    Args:
      result: of the episode.
      record: of the loop in it.
      chunks: counts of the chunk buffer.
      **about: other columns of its row.
    """
    if self.record is None:
      self.record = record.make_empty()
    by_mode = self.by_mode.setdefault(result.mode, record.make_empty())
    for total in (self.record, by_mode):
      total.merge(record)
    row = result._asdict() | about
    self.episodes.append(row)
    whole = row | {'loop': record.to_dict(), 'chunks': dict(chunks)}
    print(json.dumps(whole), file=self._file, flush=True)

  def close(self) -> None:
    """Closes the file."""
    self._file.close()
