"""Cuts an episode's control steps into segments for replay.

The control loop records single steps; replay takes windows of C control steps
with the features at every stride-th of them. Windows do not depend on where the
policy's chunks started.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.outcomes import RowEnd
from rlt_jax.types import Features, Segment


class Step(NamedTuple):
  """One executed control step.

  command: [A] absolute joint targets. measured: [A] the joints before it.
  source: a `types.Source`.
  """

  command: np.ndarray
  measured: np.ndarray
  source: int


def observed_steps(num_steps: int, stride: int) -> range:
  """Returns the steps of an episode of T at which features must be known."""
  return range(0, num_steps + 1, stride)


def needed_steps(num_steps: int, stride: int, end: str) -> range:
  """Returns those of `observed_steps` that a part with this end needs.

  Where the episode terminates nothing bootstraps from what follows its last
  step.
  """
  return observed_steps(num_steps - (end != RowEnd.CUT), stride)


def cut(
  steps: Sequence[Step],
  features: Mapping[int, Features],
  *,
  chunk_size: int,
  replay_stride: int,
  inference_delay: int = 0,
  end: str,
) -> list[Segment]:
  """Returns the segments of one episode, or of its part between two holds.

  Args:
    steps: T executed control steps in a row; at least one.
    features: step -> its features, for `needed_steps`. A reference is
      [C + d, A], from that step on.
    chunk_size: C, steps of a segment.
    replay_stride: control steps between rows; divides C.
    inference_delay: d, control steps from an observation to the first step
      that it decides; a multiple of the stride. The first observation decides
      the first d steps too.
    end: a `RowEnd`. At 'success' the reward of the last step is 1.

  Returns:
    Segments of one robot, E = 1, float32, bool and int32.

  Raises:
    ValueError: no step, an unknown end, a stride that does not divide the
      chunk, or features that are missing.
  """
  if not steps:
    raise ValueError('An episode must have at least one step: 0.')
  if end not in set(RowEnd):
    raise ValueError(
      f'end must be one of {[x.value for x in RowEnd]}: {end!r}.'
    )
  if replay_stride < 1 or chunk_size % replay_stride:
    raise ValueError(
      f'replay_stride must divide chunk_size {chunk_size}: {replay_stride}.'
    )
  if inference_delay < 0 or inference_delay % replay_stride:
    raise ValueError(
      f'inference_delay must be a multiple of replay_stride {replay_stride}: '
      f'{inference_delay}.'
    )
  observed = needed_steps(len(steps), replay_stride, end)
  if missing := sorted(set(observed) - set(features)):
    raise ValueError(
      f'Features must be known every {replay_stride} steps: not at {missing}.'
    )
  newest = max(set(features).intersection((*observed, len(steps))))
  segments = []
  for start in range(0, len(steps), chunk_size):
    decision_steps = range(start, start + chunk_size + 1, replay_stride)
    *inside, final = (
      _deciding(features, min(step, newest), chunk_size, inference_delay)
      for step in decision_steps
    )
    segments.append(
      _segment(steps, start, inside, final, chunk_size=chunk_size, end=end)
    )
  return segments


def _deciding(
  features: Mapping[int, Features], step: int, chunk_size: int, delay: int
) -> Features:
  """Returns the features that decided a step, its reference from there on."""
  seen_at = max(step - delay, 0)
  seen = features[seen_at]
  first = step - seen_at
  reference = seen.reference[first : first + chunk_size]
  if len(reference) != chunk_size:
    raise ValueError(
      f'A reference must reach {delay} steps beyond the chunk of {chunk_size}: '
      f'{len(seen.reference)}.'
    )
  return _map(
    lambda x: np.asarray(x, np.float32), seen._replace(reference=reference)
  )


def _segment(
  steps: Sequence[Step],
  start: int,
  inside: Sequence[Features],
  final: Features,
  *,
  chunk_size: int,
  end: str,
) -> Segment:
  num = len(steps)
  indices = np.arange(start, start + chunk_size)
  last = start + chunk_size >= num
  # After the end nothing was executed; the last step is repeated as invalid.
  executed = [steps[i] for i in np.minimum(indices, num - 1)]
  reward = np.zeros((1, chunk_size), np.float32)
  if last and end == RowEnd.SUCCESS:
    reward[0, num - 1 - start] = 1.0
  return Segment(
    features=_map(lambda *x: np.stack(x)[None], *inside),
    final=_map(lambda x: x[None], final),
    command=np.stack([x.command for x in executed])[None].astype(np.float32),
    reward=reward,
    valid=indices[None] < num,
    terminated=np.array([last and end != RowEnd.CUT]),
    truncated=np.array([last and end == RowEnd.CUT]),
    source=np.array([[x.source for x in executed]], np.int32),
  )


def _map(function: Callable[..., np.ndarray], *features: Features) -> Features:
  """Applies a function to each field; what a robot does not have stays None."""
  return Features(
    *(
      None if x[0] is None else function(*x)
      for x in zip(*features, strict=True)
    )
  )
