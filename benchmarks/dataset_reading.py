"""Measures how long a dataset takes to read, and what it takes on the disk.

  python -m benchmarks.dataset_reading --demos=DATASET

Prints milliseconds of processor time of a frame: of its numbers, and of the
picture of each camera, decoded in order and resized to --size. Processor time
of all threads is that of an idle machine, whatever else runs.
"""

import pathlib
import time

from absl import flags
import numpy as np

from experiments import launch

_DEMOS = launch.define_path('demos', None, 'The dataset.', required=True)
_EPISODES = flags.DEFINE_integer('episodes', 5, 'Episodes to read, at most.')
_SIZE = flags.DEFINE_integer('size', 224, 'Side of the pictures, pixels.')


def main() -> None:
  """Reads the dataset of the flags."""
  from rlt_jax.datasets import opening, pictures

  recording = opening.open_recording(_DEMOS.value)
  if recording is None:
    raise SystemExit('error: --demos must be a dataset of another project.')
  numbers = range(min(_EPISODES.value, len(recording.episodes)))
  frames = sum(recording.episodes[i].length for i in numbers)
  rows = sum(episode.length for episode in recording.episodes)
  size = sum(
    file.stat().st_size
    for file in pathlib.Path(_DEMOS.value).rglob('*')
    if file.is_file()
  )
  print(f'{recording.kind}: {rows:,} rows, {size / rows / 1e3:.2f} KB a row')

  began = time.process_time()
  for number in numbers:
    recording.read_vectors(number, list(recording.vectors))
  print(f'numbers: {_milliseconds(began, frames):.3f} ms a row')
  for key, shape in recording.cameras.items():
    began = time.process_time()
    for number in numbers:
      length = recording.episodes[number].length
      for picture in recording.read_images(number, key, np.arange(length)):
        pictures.fit(picture, _SIZE.value)
    took = _milliseconds(began, frames)
    print(f'{key}, {shape[1]}x{shape[0]}: {took:.2f} ms a picture')


def _milliseconds(began: float, count: int) -> float:
  return 1e3 * (time.process_time() - began) / count


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
