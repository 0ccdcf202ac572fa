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


class CameraReport(NamedTuple):
  """Of a camera's sampled pictures: mean gray level and deviation within one.

  pictures: how many were looked at; 0 where none could be read.
  """

  key: str
  pictures: int
  level: float
  contrast: float


def study(
  recording: Recording, episodes: Sequence[int], samples: int
) -> tuple[list[CameraReport], list[Finding]]:
  """Looks at pictures spread evenly over each episode.

  Args:
    recording: the dataset.
    episodes: indices of those to look at.
    samples: pictures of an episode and camera, at least 2.
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
        for text in _judge(pictures)
      ]
    level, contrast = (
      float(np.mean(x)) if x else 0.0 for x in (levels, contrasts)
    )
    reports.append(CameraReport(key, count, level, contrast))
  return reports, findings


def _judge(pictures: np.ndarray) -> Iterator[str]:
  """Yields what is wrong with pictures [B, height, width, 3] of an episode."""
  level = pictures.mean()
  if level < _DARK:
    yield f'is dark: its mean level is {level:.1f} of 255.'
  elif level > _BRIGHT:
    yield f'is overexposed: its mean level is {level:.1f} of 255.'
  elif pictures.std(axis=(1, 2, 3)).max() < _FLAT:
    yield 'shows one plain color.'
  elif len(pictures) > 1:
    change = np.abs(np.diff(pictures, axis=0)).max()
    if change <= _FROZEN:
      yield (
        f'is frozen: in {len(pictures)} pictures over the whole episode no '
        f'pixel changes by more than {change:.0f} levels.'
      )
