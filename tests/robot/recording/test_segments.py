"""Segments of an episode, by hand and against the rows built from them."""

import jax
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.robot.recording import segments
from rlt_jax.types import Features, Source

_C, _S, _A, _Z, _P = 4, 2, 2, 3, 5


def _episode(num):
  """Steps and features whose numbers say which step they are from."""
  steps = [
    segments.Step(
      np.full(_A, t + 0.5), np.full(_A, float(t)), Source.HUMAN * (t % 2)
    )
    for t in range(num)
  ]
  features = {
    t: Features(
      z_rl=np.full(_Z, float(t)),
      proprio=np.full(_P, float(t)),
      reference=np.full((_C, _A), 100.0 + t),
      pose=np.full(_A, float(t)),
    )
    for t in segments.observed_steps(num, _S)
  }
  return steps, features


def _cut(steps, features, **changes):
  fields = {'chunk_size': _C, 'replay_stride': _S} | changes
  return segments.cut(steps, features, **fields)


def _rows(cut):
  """Returns the rows that a learner keeps of one episode's segments."""
  kept = []
  following = [*cut[1:], replay.empty_segment(cut[0])]
  for prev, cur in zip(cut, following, strict=True):
    rows, keep = replay.build_rows(
      prev, cur, encode=lambda c, pose: c - pose, gamma=0.5, stride=_S
    )
    for i in np.flatnonzero(keep):
      kept.append(jax.tree.map(lambda x: np.asarray(x[i]), rows))  # noqa: B023
  return kept


def test_an_episode_is_cut_into_segments():
  first, second = _cut(*_episode(6), end='success')
  assert first.valid.tolist() == [[True] * 4]
  assert second.valid.tolist() == [[True, True, False, False]]
  assert first.terminated.tolist() == [False]
  assert second.terminated.tolist() == [True]
  assert not first.truncated[0] and not second.truncated[0]
  assert second.reward.tolist() == [[0.0, 1.0, 0.0, 0.0]]
  assert first.features.z_rl[0, :, 0].tolist() == [0.0, 2.0]
  assert first.final.z_rl[0, 0] == 4.0
  assert second.command[0, :, 0].tolist() == [4.5, 5.5, 5.5, 5.5]
  assert first.source.tolist() == [[0, 2, 0, 2]]


def test_segments_have_the_shapes_and_types_of_one_robot():
  for segment in _cut(*_episode(6), end='cut'):
    assert segment.features.reference.shape == (1, _C // _S, _C, _A)
    assert segment.final.reference.shape == (1, _C, _A)
    assert segment.command.shape == (1, _C, _A)
    assert segment.terminated.shape == segment.truncated.shape == (1,)
    dtypes = {x.dtype for x in (*segment.features[:4], *segment.final[:4])}
    assert segment.features[4:] == segment.final[4:] == (None,)
    assert dtypes | {segment.command.dtype, segment.reward.dtype} == {
      np.dtype('float32')
    }
    assert segment.source.dtype == np.int32 and segment.valid.dtype == bool


@pytest.mark.parametrize(
  'end, starts',
  [('success', [0, 2, 4]), ('failure', [0, 2, 4]), ('cut', [0, 2])],
)
def test_rows_end_where_the_episode_did(end, starts):
  rows = _rows(_cut(*_episode(6), end=end))
  assert [r.z_rl[0] for r in rows] == starts
  assert [r.discount > 0 for r in rows] == [
    end == 'cut' or s + _C < 6 for s in starts
  ]
  assert rows[-1].reward == (0.5 if end == 'success' else 0.0)
  if end == 'cut':
    assert [r.next_z_rl[0] for r in rows] == [4.0, 6.0]


def test_an_odd_number_of_steps_needs_no_further_observation():
  steps, features = _episode(5)
  assert max(features) == 4
  rows = _rows(_cut(steps, features, end='cut'))
  assert [r.z_rl[0] for r in rows] == [0.0]
  assert rows[0].next_z_rl[0] == 4.0


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'steps': []}, 'at least one step: 0'),
    ({'end': 'won'}, "end must be one of .*: 'won'"),
    ({'replay_stride': 3}, 'replay_stride must divide chunk_size 4: 3'),
    ({'features': {}}, r'not at \[0, 2, 4, 6\]'),
  ],
)
def test_bad_arguments_are_refused(changes, message):
  steps, features = _episode(6)
  call = {'steps': steps, 'features': features, 'end': 'cut'} | changes
  with pytest.raises(ValueError, match=message):
    _cut(**call)


def test_with_a_delay_an_earlier_observation_decides_a_step():
  steps, features = _episode(9)
  features = {
    t: seen._replace(
      # Says which step it is from and which step it is for.
      reference=np.repeat(100.0 * t + t + np.arange(_C + 2), _A).reshape(-1, _A)
    )
    for t, seen in features.items()
  }
  cut = _cut(steps, features, inference_delay=2, end='success')
  for start, segment in zip((0, 4, 8), cut, strict=True):
    observed = [max(min(start + k, 8) - 2, 0) for k in range(0, _C, _S)]
    np.testing.assert_array_equal(segment.features.pose[0, :, 0], observed)
    for k, seen_at in enumerate(observed):
      now = min(start + k * _S, 8)
      np.testing.assert_array_equal(
        segment.features.reference[0, k, :, 0],
        100.0 * seen_at + now + np.arange(_C),
      )
  np.testing.assert_array_equal(cut[0].final.pose, 2.0)
  # The first observation decides the first two steps as well, from its own on.
  np.testing.assert_array_equal(cut[0].features.reference[0, 0, 0], 0.0)


def test_a_delay_must_be_strides_and_within_the_reference():
  steps, features = _episode(4)
  with pytest.raises(ValueError, match='multiple of replay_stride 2: 1'):
    _cut(steps, features, inference_delay=1, end='cut')
  with pytest.raises(ValueError, match='2 steps beyond the chunk of 4: 4'):
    _cut(steps, features, inference_delay=2, end='cut')
