"""How episodes end: in success, in something else, or in long rest."""

from collections.abc import Iterator, Sequence

import numpy as np

from rlt_jax.datasets import inspect_motion
from rlt_jax.datasets.inspect_motion import Finding
from rlt_jax.datasets.lerobot import episodes as episodes_lib
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.recording import Recording

_STILL_SHARE = 0.01  # of a joint's span over the dataset: less is no motion
# At the end of an episode. Where the rate is not known, rows.
_REST_S, _REST_ROWS = 2.0, 100


def study(
  recording: Recording,
  readable: Sequence[int],
  state_key: str,
  span: np.ndarray,
  fps: float | None,
) -> tuple[str, list[Finding]]:
  """Reads the measured joints and the marks of an end once.

  Args:
    recording: the dataset.
    readable: indices of the episodes to read.
    state_key: column of the joints.
    span: [n] of each over the dataset.
    fps: rows a second, or None.

  Returns:
    A sentence on successes, '' where nothing is recorded of them, and notes.
  """
  marks = [
    key
    for key in (episodes_lib.SUCCESS, format_lib.DONE)
    if len(recording.vectors.get(key, ())) == 1
  ]
  unmarked: dict[str, list[int]] = {key: [] for key in marks}
  rests: dict[int, int] = {}
  least = _REST_ROWS if fps is None else _REST_S * fps
  for index in readable:
    columns = recording.read_vectors(index, [state_key, *marks])
    number = recording.episodes[index].number
    for key in marks:
      if not columns[key].any():
        unmarked[key].append(number)
    state = columns[state_key]
    moves = (np.abs(state - state[-1]) > _STILL_SHARE * span).any(axis=1)
    rest = int(np.argmax(moves[::-1]))  # 0 where nothing moves at all
    if rest > least:
      rests[number] = rest
  total = len(readable)
  counts = [
    f'{total - len(numbers):,} of {total:,} have {key}'
    for key, numbers in unmarked.items()
  ]
  text = f'Ends of episodes: {", ".join(counts)}.' if counts else ''
  return text, list(_notes(unmarked, rests, total, fps))


def _notes(unmarked, rests, total, fps) -> Iterator[Finding]:
  for key, numbers in unmarked.items():
    if numbers:
      yield Finding(
        f'{len(numbers):,} of {total:,} episodes end without {key}: '
        f'{inspect_motion.shorten(numbers)}. A VLA learns from them like from '
        'the others.',
        is_fault=False,
      )
  if rests:
    longest = max(rests.values())
    seconds = '' if fps is None else f', {longest / fps:.1f} s'
    yield Finding(
      f'{len(rests):,} of {total:,} episodes end in rest, for up to '
      f'{longest:,} rows{seconds}: {inspect_motion.shorten(list(rests))}. '
      'A VLA learns to stand still there.',
      is_fault=False,
    )
