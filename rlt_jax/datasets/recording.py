"""The interface of recorded episodes, whatever the format of their files."""

import abc
from collections.abc import Iterator, Mapping, Sequence
import importlib
from types import ModuleType
from typing import NamedTuple

import numpy as np


class RecordedEpisode(NamedTuple):
  """One episode of T rows.

  number: by which the dataset itself names it.
  instructions: its task texts, usually one; none where the format has none.
  """

  number: int
  length: int
  instructions: tuple[str, ...]


class Recording(abc.ABC):
  """Recorded episodes, read one at a time, in the units of the dataset.

  Reading is safe from several threads.

  path: of the dataset, for messages.
  kind: of the format, for messages.
  fps: rows a second; None where the files do not say.
  vectors: key -> names of the entries, for all columns of numbers.
  cameras: key -> height and width of its pictures.
  episodes: all of them, in order.
  """

  path: str
  kind: str
  fps: float | None
  vectors: Mapping[str, tuple[str, ...]]
  cameras: Mapping[str, tuple[int, int]]
  episodes: tuple[RecordedEpisode, ...]

  @abc.abstractmethod
  def read_vectors(
    self, episode: int, keys: Sequence[str]
  ) -> dict[str, np.ndarray]:
    """Returns columns of an episode, key -> float [T, n], as they are stored.

    Args:
      episode: index in `episodes`.
      keys: of `vectors`.

    Raises:
      ValueError: a damaged file, rows that are missing, or numbers that are not
        finite; the message names the file.
    """

  @abc.abstractmethod
  def read_images(
    self, episode: int, key: str, rows: np.ndarray
  ) -> Iterator[np.ndarray]:
    """Yields pictures uint8 [height, width, 3], RGB, in the order of rows.

    Args:
      episode: index in `episodes`.
      key: of `cameras`.
      rows: [B] increasing row numbers of the episode.

    Raises:
      ValueError: a picture that is missing or does not decode.
    """

  def video_ends(
    self, key: str, episodes: Sequence[int]
  ) -> list[tuple[int, int]]:
    """Returns first and last picture of each video file, (episode, row).

    Args:
      key: of `cameras`.
      episodes: indices of those to consider.

    Returns:
      Nothing where pictures are not in videos.
    """
    del key, episodes
    return []

  def read_interventions(self, episode: int) -> np.ndarray:
    """Returns bool [T], whether a person drove; all False where unknown."""
    return np.zeros(self.episodes[episode].length, bool)

  def check_times(self, episode: int) -> None:  # noqa: B027
    """Raises a ValueError if rows of an episode are not 1 / fps apart."""


def import_extra(name: str, what: str) -> ModuleType:
  """Imports a package of the extra `datasets`.

  Args:
    name: of the module.
    what: the package reads, for the message.

  Raises:
    ImportError: it is not installed; the message says how to install it.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ImportError(
      f'{what} are read with {name.partition(".")[0]}: pip install '
      f"'rlt_jax[datasets]' ({error})."
    ) from None


def check_finite(key: str, column: np.ndarray, where: object) -> None:
  """Raises a ValueError unless all numbers [T, n] are finite."""
  if not np.isfinite(column).all():
    row, entry = np.argwhere(~np.isfinite(column))[0].tolist()
    raise ValueError(
      f'{key} must be finite: {column[row, entry]} in row {row}, entry {entry} '
      f'of {where}. Leave the episode out with skip_episodes of the mapping.'
    )
