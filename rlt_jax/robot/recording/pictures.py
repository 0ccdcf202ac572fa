"""Pictures of a run: what the VLA was shown at the recorded steps.

They are in a folder beside the journal, in files of the same form: a row holds
one observation, a PNG file per camera. A row belongs to the journal's step with
the same episode, recording and step. `picture_store` writes them.
"""

from collections.abc import Iterator, Mapping
import os
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.recording import journal as journal_lib
from rlt_jax.robot.recording import journal_files
from rlt_jax.robot.recording.journal_files import JournalFile

IMAGES = 'images/'  # before a camera's name


class Key(NamedTuple):
  """Which step of the journal was observed.

  episode: of the run, as in the meta of the journal's file. recording: in the
  episode, from 0. step: in the recording.
  """

  episode: int
  recording: int
  step: int


class Observation(NamedTuple):
  """One observation as read.

  obs_time: s, of its oldest part, by the clock of the loop that took it.
  pose: float64 [A] measured, rad (grippers m). proprio: float32 [P], positions
  then velocities. images: camera -> content of a PNG file.
  """

  key: Key
  obs_time: float
  pose: np.ndarray
  proprio: np.ndarray
  images: dict[str, bytes]


def describe(
  spec: BundleSpec, robot: str, shapes: Mapping[str, tuple[int, int, int]]
) -> dict[str, Any]:
  """Returns what a reader must know of a run, JSON.

  Args:
    spec: of the policy.
    robot: name of the arm.
    shapes: camera -> (height, width, 3).
  """
  return {
    'robot': robot,
    'joint_names': spec.joint_names,
    'joint_units': spec.joint_units,
    'control_hz': spec.control_hz,
    'replay_stride': spec.replay_stride,
    'prompt': spec.prompt,
    'cameras': {name: list(shape) for name, shape in shapes.items()},
  }


def check_rate(control_hz: float, replay_stride: int) -> None:
  """Raises a ValueError if no dataset could have the rate of the pictures."""
  rate = control_hz / replay_stride
  if rate != int(rate) or rate < 1:
    raise ValueError(
      'Pictures must be kept at a whole number a second of at least 1, as '
      f'LeRobot has it: {control_hz:g} Hz with replay_stride {replay_stride} '
      f'are {rate:g}. Leave out --keep_pictures, or export the policy with '
      'another replay_stride.'
    )


def estimate(about: Mapping[str, Any], free_bytes: int) -> str:
  """Returns what keeping pictures may cost, a sentence.

  Args:
    about: of `describe`.
    free_bytes: of the disk that pictures may take.
  """
  rate = about['control_hz'] / about['replay_stride']
  raw = sum(int(np.prod(shape)) for shape in about['cameras'].values())
  per_minute = 60.0 * rate * raw
  room = max(free_bytes, 0) / per_minute
  return (
    f'Keeping pictures of {len(about["cameras"])} cameras at {rate:g} Hz: at '
    f'most {per_minute / 1e9:.3f} GB a minute of practice, room for '
    f'{room:.0f} minutes at least.'
  )


class PictureFile(NamedTuple):
  """The pictures of an episode. about: of `describe`, and 'episode'."""

  about: dict[str, Any]
  entry: JournalFile


def find(folder: str | os.PathLike[str]) -> dict[int, PictureFile]:
  """Returns the files with pictures by the episode of the run.

  An episode that was killed before its first step is begun anew under the same
  number: the newest file counts.

  Raises:
    JournalError: a file is damaged.
  """
  found = {}
  for entry in journal_files.files(folder):
    for row in journal_lib.read_rows(entry):
      found[row.begin['episode']] = PictureFile(row.begin, entry)
      break
  return found


def read(entry: JournalFile) -> Iterator[Observation]:
  """Yields the observations of a file, in order.

  Raises:
    JournalError: it is damaged; what came before was yielded.
  """
  for row in journal_lib.read_rows(entry):
    yield Observation(
      Key(**{name: row.meta[name] for name in Key._fields}),
      row.meta['obs_time'],
      row.arrays['pose'],
      row.arrays['proprio'],
      {
        name.removeprefix(IMAGES): data.tobytes()
        for name, data in row.arrays.items()
        if name.startswith(IMAGES)
      },
    )
