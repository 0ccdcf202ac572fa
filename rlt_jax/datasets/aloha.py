"""Reads episodes of ALOHA, an HDF5 file each.

The files hold `action`, `observations/qpos`, mostly `observations/qvel`, and
`observations/images/<camera>`, plain or as padded JPEG. They say neither the
rate of their rows nor the instruction nor the names of the joints.
"""

from collections.abc import Iterator, Sequence
import pathlib
import re
from typing import Any

import numpy as np

from rlt_jax.datasets import pictures, recording
from rlt_jax.datasets.recording import RecordedEpisode, Recording

STATE, VELOCITY, ACTION = 'observations/qpos', 'observations/qvel', 'action'
_IMAGES = 'observations/images'
SUFFIXES = ('.hdf5', '.h5')


def find_files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the HDF5 files of a folder in order of their numbers."""
  if path.is_file():
    return [path] if path.suffix in SUFFIXES else []
  found = [x for x in path.glob('*') if x.suffix in SUFFIXES and x.is_file()]
  return sorted(found, key=lambda file: (_number(file, -1), file.name))


def _number(file: pathlib.Path, otherwise: int) -> int:
  digits = re.findall(r'\d+', file.stem)
  return int(digits[-1]) if digits else otherwise


class AlohaRecording(Recording):
  """A folder of ALOHA's HDF5 episodes, or one of them.

  compressed: whether the pictures are stored as JPEG, whose order of colors no
    file says.
  """

  def __init__(self, path: str | pathlib.Path):
    """Reads shapes, no data.

    Raises:
      ValueError: no such files, damaged ones, or files that disagree.
    """
    self.path, self.kind, self.fps = str(path), 'ALOHA HDF5', None
    self._files = find_files(pathlib.Path(path))
    if not self._files:
      raise ValueError(f'There must be HDF5 files (.hdf5): none in {path}.')
    numbers = [_number(x, i) for i, x in enumerate(self._files)]
    if len(set(numbers)) != len(numbers):
      numbers = list(range(len(self._files)))
    forms, episodes = [], []
    for number, file in zip(numbers, self._files, strict=True):
      length, form = self._read_form(file)
      episodes.append(RecordedEpisode(number, length, ()))
      forms.append(form)
      if form != forms[0]:
        raise ValueError(
          'Episodes must have the same columns and pictures: '
          f'{forms[0]} in {self._files[0]}, {form} in {file}.'
        )
    vectors, cameras, self.compressed = forms[0]
    self.vectors = {k: tuple(map(str, range(n))) for k, n in vectors.items()}
    self.cameras, self.episodes = cameras, tuple(episodes)

  def read_vectors(
    self, episode: int, keys: Sequence[str]
  ) -> dict[str, np.ndarray]:
    """Returns columns [T, n]; see `Recording.read_vectors`."""
    file, columns = self._files[episode], {}
    with _open(file) as content:
      for key in keys:
        try:
          columns[key] = np.asarray(content[key][()])
        except (OSError, KeyError) as error:
          raise _damaged(file, error) from None
        recording.check_finite(key, columns[key], file)
    return columns

  def read_images(
    self, episode: int, key: str, rows: np.ndarray
  ) -> Iterator[np.ndarray]:
    """Yields pictures; see `Recording.read_images`.

    Those of JPEG files in the order of colors of the file.
    """
    file = self._files[episode]
    with _open(file) as content:
      for row in rows:
        try:
          stored = content[key][int(row)]
        except (OSError, KeyError, ValueError, IndexError) as error:
          raise _damaged(file, error) from None
        if stored.ndim == 1:
          where = f'row {row} of {key} in {file}'
          stored = pictures.decode(stored.tobytes(), where)
        if stored.shape != (*self.cameras[key], 3) or stored.dtype != np.uint8:
          raise ValueError(
            f'Pictures of {key} must be uint8 {(*self.cameras[key], 3)}: '
            f'{stored.dtype} {stored.shape} in row {row} of {file}.'
          )
        yield stored

  def _read_form(self, file: pathlib.Path) -> tuple[int, Any]:
    """Returns the length of an episode and the form of its columns."""
    with _open(file) as content:
      missing = [x for x in (STATE, ACTION, _IMAGES) if x not in content]
      if missing:
        raise ValueError(
          f'{file} must hold {STATE}, {ACTION} and {_IMAGES}, as ALOHA writes '
          f'them: {missing} are missing.'
        )
      vectors = [STATE, ACTION]
      vectors += [VELOCITY] if VELOCITY in content else []
      sizes = {key: content[key].shape for key in vectors}
      wrong = {k: x for k, x in sizes.items() if len(x) != 2}
      images = {f'{_IMAGES}/{x}': content[f'{_IMAGES}/{x}'] for x in (
        content[_IMAGES]
      )}  # fmt: skip
      lengths = {k: x[0] for k, x in sizes.items()}
      lengths |= {k: len(x) for k, x in images.items()}
      if wrong or not images or len(set(lengths.values())) != 1:
        raise ValueError(
          f'{file} must have as many rows in all columns, and a camera: '
          f'{sizes}, {lengths}.'
        )
      cameras, compressed = {}, set()
      for key, data in images.items():
        shape = data.shape[1:]
        if data.ndim == 2:
          where = f'row 0 of {key} in {file}'
          shape = pictures.decode(data[0].tobytes(), where).shape
        compressed.add(data.ndim == 2)
        cameras[key] = shape[:2]
      form = {k: x[1] for k, x in sizes.items()}, cameras, True in compressed
      return lengths[STATE], form


def _open(file: pathlib.Path) -> Any:
  h5py = recording.import_extra('h5py', "ALOHA's episodes")
  try:
    return h5py.File(file, 'r')
  except OSError as error:
    raise _damaged(file, error) from None


def _damaged(file: pathlib.Path, error: Exception) -> ValueError:
  return ValueError(f'{file} must be a whole HDF5 file: {error}.')
