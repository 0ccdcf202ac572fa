"""Finds cameras that show nothing or always the same, or do not decode."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rlt_jax.datasets.inspect_motion import Finding
from rlt_jax.datasets.recording import Recording

# Gray levels, of 255. A lens cap under sensor noise stays below the first.
_DARK, _BRIGHT = 8.0, 247.0
_FLAT = 1.0  # deviation within a picture
# Largest difference of a pixel; compression of one picture stays below it, the
# noise of a camera and a thing that moves do not.
_FROZEN = 4.0
# Of a joint's span over the dataset: one that moves this far should be seen.
_SEEN_SHARE = 0.05


class CameraReport(NamedTuple):
  """Of a camera's sampled pictures: mean gray level and deviation within one.

  pictures: how many were looked at; 0 where none could be read.
  """

  key: str
  pictures: int
  level: float
  contrast: float


def study(
  recording: Recording,
  episodes: Sequence[int],
  samples: int,
  state_key: str,
  span: np.ndarray,
) -> tuple[list[CameraReport], list[Finding]]:
  """Looks at pictures spread evenly over each episode.

  Args:
    recording: the dataset.
    episodes: indices of those to look at.
    samples: pictures of an episode and camera, at least 2.
    state_key: column of the measured joints.
    span: [n] of each over the dataset.
  """
  reports, findings = [], []
  for key in recording.cameras:
    levels, contrasts, shown, count = [], [], set(), 0
    for index in episodes:
      number, length, _ = recording.episodes[index]
      rows = np.unique(np.linspace(0, length - 1, samples).astype(int))
      try:
        pictures = np.stack(list(recording.read_images(index, key, rows)))
      except ValueError as error:
        text = f'Episode {number}: {key} is unreadable: {error}'
        if str(error) not in shown:  # a video holds many episodes
          findings.append(Finding(text, episodes=(number,)))
        shown.add(str(error))
        continue
      pictures = pictures.astype(np.float32)
      count += len(rows)
      levels.append(pictures.mean())
      contrasts.append(pictures.std(axis=(1, 2, 3)).mean())
      findings += [
        Finding(f'Episode {number}: {key} {text}', episodes=(number,))
        for text in _judge(
          pictures,
          rows,
          recording.read_vectors(index, [state_key])[state_key],
          span,
          recording.vectors[state_key],
        )
      ]
    level, contrast = (
      float(np.mean(x)) if x else 0.0 for x in (levels, contrasts)
    )
    reports.append(CameraReport(key, count, level, contrast))
  return reports, findings


def _judge(
  pictures: np.ndarray,
  rows: np.ndarray,
  state: np.ndarray,
  span: np.ndarray,
  names: Sequence[str],
) -> Iterator[str]:
  """Yields what is wrong with pictures [B, height, width, 3] of an episode.

  Args:
    pictures: float32, gray levels.
    rows: [B] of the pictures.
    state: [T, n] of the episode.
    span: [n] of the state over the dataset.
    names: of its entries.
  """
  level = pictures.mean()
  if level < _DARK:
    yield f'is dark: its mean level is {level:.1f} of 255.'
  elif level > _BRIGHT:
    yield f'is overexposed: its mean level is {level:.1f} of 255.'
  elif pictures.std(axis=(1, 2, 3)).max() < _FLAT:
    yield 'shows one plain color.'
  elif len(pictures) > 1:
    changes = np.abs(np.diff(pictures, axis=0)).max(axis=(1, 2, 3))
    if changes.max() <= _FROZEN:
      yield (
        f'is frozen: in {len(pictures)} pictures over the whole episode no '
        f'pixel changes by more than {changes.max():.0f} levels.'
      )
    else:
      yield from _find_freeze(changes, rows, state, span, names)


def _find_freeze(
  changes: np.ndarray,
  rows: np.ndarray,
  state: np.ndarray,
  span: np.ndarray,
  names: Sequence[str],
) -> Iterator[str]:
  """Yields one text if pictures stay the same while a joint moves.

  Args:
    changes: [B - 1] largest of a pixel from each picture to the next.
    rows, state, span, names: see `_judge`.
  """
  frozen = []
  for i in np.flatnonzero(changes <= _FROZEN):
    moved = np.ptp(state[rows[i] : rows[i + 1] + 1], axis=0)
    share = moved / np.maximum(span, np.finfo(float).tiny)
    if share.max() > _SEEN_SHARE:
      frozen.append((i, int(share.argmax()), moved[share.argmax()]))
  if not frozen:
    return
  i, joint, moved = frozen[0]
  more = f', and {len(frozen) - 1} times more' if len(frozen) > 1 else ''
  yield (
    f'is frozen: rows {rows[i]} and {rows[i + 1]} show the same picture within '
    f'{changes[i]:.0f} levels, while {names[joint]} moves by {moved:.3g}{more}.'
  )
