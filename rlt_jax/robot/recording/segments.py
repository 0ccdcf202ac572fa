"""From an episode's ticks to the segments that replay rows are built from.

The loop drives in ticks; a learner wants windows of C control steps with what
the agent saw every `stride` of them. Windows are cut from the executed stream,
wherever the policy's own chunks began: late inference moves those.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

ENDS = ('success', 'failure', 'cut')


class Step(NamedTuple):
  """One control step: command, measured [A] before it, source of it."""

  command: np.ndarray
  measured: np.ndarray
  source: int


class Seen(NamedTuple):
  """What the agent sees at a tick.

  z_rl: [Z]. proprio: [P] normalised. reference: [C + d, A] normalised, from
  this tick on, relative to pose. pose: [A] measured. live: it was there while
  the loop ran; False for one that was asked for afterwards (back-filled).
  """

  z_rl: np.ndarray
  proprio: np.ndarray
  reference: np.ndarray
  pose: np.ndarray
  live: bool


def needed(num_steps: int, stride: int) -> range:
  """Returns the ticks of an episode of T steps that must have been seen."""
  return range(0, num_steps + 1, stride)


def cut(
  steps: Sequence[Step],
  seen: Mapping[int, Seen],
  *,
  chunk: int,
  stride: int,
  delay: int = 0,
  end: str,
) -> list[dict[str, np.ndarray]]:
  """Returns the segments of one episode, or of a part between two holds.

  Args:
    steps: T executed control steps in a row; at least one.
    seen: tick -> what was seen at it, for every tick of `needed`.
    chunk: C, steps a segment.
    stride: steps between rows; divides C.
    delay: d, steps from what is seen to the step that it decides; a multiple
      of the stride. What is seen first decides the first d steps too.
    end: 'success' gives the last step a reward of 1; it and 'failure' end the
      episode. 'cut' is a time limit, a hold or an abort: no value is known
      there, so rows may end at it but not beyond.

  Returns:
    One dict a segment with the fields of `types.Segment` without features
    and final, float32, bool and int32, for one robot ([C, ...]); what is seen
    is under 'features/<name>' [C / stride, ...] and 'final/<name>' [...]; and
    'live' bool [C / stride].

  Raises:
    ValueError: no step, an unknown end, a stride that does not divide the
      chunk, or a tick that was not seen.
  """
  if not steps:
    raise ValueError('An episode must have at least one step: 0.')
  if end not in ENDS:
    raise ValueError(f'end must be one of {ENDS}: {end!r}.')
  if stride < 1 or chunk % stride:
    raise ValueError(
      f'stride must divide the chunk of {chunk} steps: {stride}.'
    )
  if delay < 0 or delay % stride:
    raise ValueError(f'delay must be a multiple of stride {stride}: {delay}.')
  missing = sorted(set(needed(len(steps), stride)) - set(seen))
  if missing:
    raise ValueError(
      f'Every {stride} steps the agent must have seen: not at {missing}.'
    )
  return [
    _segment(
      steps, seen, start, chunk=chunk, stride=stride, delay=delay, end=end
    )
    for start in range(0, len(steps), chunk)
  ]


def _deciding(seen, tick, *, chunk, delay):
  """Returns what was seen for a step, its reference from that step on."""
  look = max(tick - delay, 0)
  first = tick - look
  reference = seen[look].reference[first : first + chunk]
  if len(reference) != chunk:
    raise ValueError(
      f'A reference must reach {delay} steps beyond the chunk of {chunk}: '
      f'{len(seen[look].reference)}.'
    )
  return seen[look]._replace(reference=reference)


def _segment(steps, seen, start, *, chunk, stride, delay, end):
  num = len(steps)
  ticks = np.arange(start, start + chunk)
  last = start + chunk >= num
  # Past the end nothing was executed; the last step stands in, marked invalid.
  held = [steps[t] for t in np.minimum(ticks, num - 1)]
  reward = np.zeros(chunk, np.float32)
  if last and end == 'success':
    reward[num - 1 - start] = 1.0
  latest = max(needed(num, stride))
  looks = [
    _deciding(seen, min(t, latest), chunk=chunk, delay=delay)
    for t in ticks[::stride]
  ]
  segment = {
    'command': np.stack([x.command for x in held]).astype(np.float32),
    'reward': reward,
    'valid': ticks < num,
    'terminated': np.array(last and end != 'cut'),
    'truncated': np.array(last and end == 'cut'),
    'source': np.array([x.source for x in held], np.int32),
    'live': np.array([x.live for x in looks]),
  }
  final = _deciding(seen, min(start + chunk, latest), chunk=chunk, delay=delay)
  for name in Seen._fields[:-1]:
    segment[f'features/{name}'] = np.stack(
      [np.asarray(getattr(x, name), np.float32) for x in looks]
    )
    segment[f'final/{name}'] = np.asarray(getattr(final, name), np.float32)
  return segment
