"""Segments of an episode, by hand and against the rows built from them."""

import jax
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.robot.recording import segments
from rlt_jax.types import Features, Segment, Source

_C, _S, _A, _Z, _P = 4, 2, 2, 3, 5


def _episode(num):
  """Steps and looks whose numbers say which tick they are from."""
  steps = [
    segments.Step(
      np.full(_A, t + 0.5), np.full(_A, float(t)), Source.HUMAN * (t % 2)
    )
    for t in range(num)
  ]
  seen = {
    t: segments.Seen(
      z_rl=np.full(_Z, float(t)),
      proprio=np.full(_P, float(t)),
      reference=np.full((_C, _A), 100.0 + t),
      pose=np.full(_A, float(t)),
      live=t % 4 == 0,
    )
    for t in segments.needed(num, _S)
  }
  return steps, seen


def _rows(parts):
  """Returns the rows a learner keeps of one episode's segments."""

  def segment(part):
    sides = {
      side: Features(
        *(part[f'{side}/{name}'][None] for name in Features._fields)
      )
      for side in ('features', 'final')
    }
    names = set(Segment._fields) - set(sides)
    return Segment(**sides, **{n: part[n][None] for n in names})

  whole = [segment(part) for part in parts]
  kept = []
  for prev, cur in zip(
    whole, [*whole[1:], replay.empty_segment(whole[0])], strict=True
  ):
    rows, keep = replay.build_rows(
      prev, cur, encode=lambda c, pose: c - pose, gamma=0.5, stride=_S
    )
    for i in np.flatnonzero(keep):
      kept.append(jax.tree.map(lambda x: np.asarray(x[i]), rows))  # noqa: B023
  return kept


def test_an_episode_is_cut_into_segments():
  parts = segments.cut(*_episode(6), chunk=_C, stride=_S, end='success')
  assert [p['valid'].tolist() for p in parts] == [
    [True] * 4,
    [True, True, False, False],
  ]
  assert [bool(p['terminated']) for p in parts] == [False, True]
  assert not any(p['truncated'] for p in parts)
  assert parts[1]['reward'].tolist() == [0.0, 1.0, 0.0, 0.0]
  assert parts[0]['features/z_rl'][:, 0].tolist() == [0.0, 2.0]
  assert parts[0]['final/z_rl'][0] == 4.0
  assert parts[1]['command'][:, 0].tolist() == [4.5, 5.5, 5.5, 5.5]
  assert parts[0]['source'].tolist() == [0, 2, 0, 2]
  assert parts[0]['live'].tolist() == [True, False]


@pytest.mark.parametrize(
  'end, starts',
  [('success', [0, 2, 4]), ('failure', [0, 2, 4]), ('cut', [0, 2])],
)
def test_rows_end_where_the_episode_did(end, starts):
  rows = _rows(segments.cut(*_episode(6), chunk=_C, stride=_S, end=end))
  assert [r.z_rl[0] for r in rows] == starts
  assert [r.discount > 0 for r in rows] == [
    end == 'cut' or s + _C < 6 for s in starts
  ]
  assert rows[-1].reward == (0.5 if end == 'success' else 0.0)
  if end == 'cut':
    assert [r.next_z_rl[0] for r in rows] == [4.0, 6.0]


def test_an_odd_number_of_steps_needs_no_more_than_was_seen():
  steps, seen = _episode(5)
  assert max(seen) == 4
  rows = _rows(segments.cut(steps, seen, chunk=_C, stride=_S, end='cut'))
  assert [r.z_rl[0] for r in rows] == [0.0]
  assert rows[0].next_z_rl[0] == 4.0


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'steps': []}, 'at least one step: 0'),
    ({'end': 'won'}, "end must be one of .*: 'won'"),
    ({'stride': 3}, 'divide the chunk of 4 steps: 3'),
    ({'seen': {}}, r'not at \[0, 2, 4, 6\]'),
  ],
)
def test_what_cannot_be_cut_is_refused(changes, message):
  steps, seen = _episode(6)
  call = {'steps': steps, 'seen': seen, 'stride': _S, 'end': 'cut'} | changes
  with pytest.raises(ValueError, match=message):
    segments.cut(chunk=_C, **call)


def test_a_step_is_decided_by_what_was_seen_before_it():
  steps, seen = _episode(9)
  seen = {
    t: look._replace(
      # Says which tick it is from and which step it is for.
      reference=np.repeat(100.0 * t + t + np.arange(_C + 2), _A).reshape(-1, _A)
    )
    for t, look in seen.items()
  }
  parts = segments.cut(steps, seen, chunk=_C, stride=_S, delay=2, end='success')
  for start, part in zip((0, 4, 8), parts, strict=True):
    looks = [max(min(start + k, 8) - 2, 0) for k in range(0, _C, _S)]
    np.testing.assert_array_equal(part['features/pose'][:, 0], looks)
    for k, look in enumerate(looks):
      now = min(start + k * _S, 8)
      np.testing.assert_array_equal(
        part['features/reference'][k, :, 0],
        100.0 * look + now + np.arange(_C),
      )
  np.testing.assert_array_equal(parts[0]['final/pose'], 2.0)
  # The first look decides the first two steps as well, from its own on.
  np.testing.assert_array_equal(parts[0]['features/reference'][0, 0], 0.0)


def test_a_delay_must_be_strides_and_within_the_reference():
  steps, seen = _episode(4)
  with pytest.raises(ValueError, match='multiple of stride 2: 1'):
    segments.cut(steps, seen, chunk=_C, stride=_S, delay=1, end='cut')
  with pytest.raises(ValueError, match='2 steps beyond the chunk of 4: 4'):
    segments.cut(steps, seen, chunk=_C, stride=_S, delay=2, end='cut')
