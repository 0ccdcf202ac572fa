"""Rows built from segments, against a slow builder on whole episodes."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.replay import rows as rows_lib
from rlt_jax.types import (
  Features,
  INTERVENTION_REFERENCES,
  Segment,
  Source,
  Transition,
)

_Z, _P, _A, _GAMMA, _STRIDE = 3, 2, 2, 0.9, 2


def _encode(commands, pose):
  return (commands - pose) * 0.5


def _episode(rng, chunk, length, end):
  """Random streams of one episode of `length` steps; `end` says how it ends."""
  steps = -(-length // chunk) * chunk + 1

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  reward = np.zeros(steps, np.float32)
  reward[:length] = 0.01 * normal(length)
  reward[length - 1] += end == 'success'
  return {
    'features': Features(
      z_rl=normal(steps, _Z),
      proprio=normal(steps, _P),
      reference=normal(steps, chunk, _A),
      pose=normal(steps, _A),
    ),
    'command': normal(steps, _A),
    'reward': reward,
    # Drivers stay for some steps, so that whole and mixed windows occur.
    'source': np.repeat(rng.integers(0, 3, steps), 7)[:steps].astype(np.int32),
    'length': length,
    'truncated': end == 'time',
  }


def _segments(episode, chunk):
  """Cuts one episode into segments without the leading [E]."""
  count = len(episode['source']) // chunk
  for i in range(count):
    steps = np.arange(i * chunk, (i + 1) * chunk)
    features = episode['features']
    last = i == count - 1
    yield Segment(
      features=jax.tree.map(lambda x: x[steps[::_STRIDE]], features),  # noqa: B023
      final=jax.tree.map(lambda x: x[steps[-1] + 1], features),  # noqa: B023
      command=episode['command'][steps],
      reward=episode['reward'][steps],
      valid=steps < episode['length'],
      terminated=np.array(last and not episode['truncated']),
      truncated=np.array(last and episode['truncated']),
      source=episode['source'][steps],
    )


def _slow_rows(episode, chunk, intervention_reference):
  """Enumerates the windows of one episode, step by step."""
  length, features = episode['length'], episode['features']
  for start in range(0, length, _STRIDE):
    if episode['truncated'] and start + chunk > length:
      break
    stop = min(start + chunk, length)
    done = not episode['truncated'] and start + chunk >= length
    window = list(range(start, stop))
    held = window + [stop - 1] * (chunk - len(window))
    after = start if done else stop
    sources = {int(episode['source'][t]) for t in window}
    executed = _encode(episode['command'][held], features.pose[start])
    reference = features.reference[start].copy()
    for i, t in enumerate(held):
      if (
        intervention_reference == 'human'
        and episode['source'][t] == Source.HUMAN
      ):
        reference[i] = executed[i]
    yield Transition(
      z_rl=features.z_rl[start],
      proprio=features.proprio[start],
      ref_chunk=reference,
      action_chunk=executed,
      reward=sum(
        _GAMMA**i * float(episode['reward'][t]) for i, t in enumerate(window)
      ),
      discount=0.0 if done else _GAMMA**chunk,
      next_z_rl=features.z_rl[after],
      next_proprio=features.proprio[after],
      next_ref_chunk=features.reference[after],
      source=sources.pop() if len(sources) == 1 else Source.MIXED,
    )


def _env_episodes(rng, chunk, num_segments):
  """Draws episodes until exactly `num_segments` segments are filled."""
  left = num_segments
  while left:
    end = rng.choice(['success', 'failure', 'time'])
    count = int(rng.integers(1, min(left, 4) + 1))
    cut = 0 if end == 'time' else int(rng.integers(0, chunk))
    yield _episode(rng, chunk, count * chunk - cut, end)
    left -= count


@functools.cache
def _builder(intervention_reference='human'):
  return jax.jit(
    functools.partial(
      rows_lib.build_rows,
      encode=_encode,
      gamma=_GAMMA,
      stride=_STRIDE,
      intervention_reference=intervention_reference,
    )
  )


def _stack(items):
  return jax.tree.map(lambda *x: np.stack(x), *items)


@pytest.mark.parametrize('intervention_reference', INTERVENTION_REFERENCES)
@pytest.mark.parametrize('chunk', [4, 10])
def test_streamed_rows_equal_the_slow_builder(chunk, intervention_reference):
  rng = np.random.default_rng(chunk)
  num_envs, num_segments = 3, 40
  episodes = [
    list(_env_episodes(rng, chunk, num_segments)) for _ in range(num_envs)
  ]
  streams = [
    [s for e in robot for s in _segments(e, chunk)] for robot in episodes
  ]
  segments = [_stack(step) for step in zip(*streams, strict=True)]
  empty = rows_lib.empty_segment(segments[0])
  got = [[] for _ in range(num_envs)]
  per_robot = chunk // _STRIDE
  for prev, cur in zip([empty, *segments], [*segments, empty], strict=True):
    rows, keep = jax.device_get(_builder(intervention_reference)(prev, cur))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(rows))
    for i in np.flatnonzero(keep):
      got[i // per_robot].append(jax.tree.map(lambda x: x[i], rows))  # noqa: B023
  for robot in range(num_envs):
    expected = [
      r
      for e in episodes[robot]
      for r in _slow_rows(e, chunk, intervention_reference)
    ]
    assert len(got[robot]) == len(expected)
    chex.assert_trees_all_close(_stack(got[robot]), _stack(expected), atol=1e-6)


def _pair(**changes):
  """Two plain segments of one robot, C = 4, rewards 1, 2, ..., 8."""
  rng = np.random.default_rng(0)
  episode = _episode(rng, 4, 8, 'failure')
  prev, cur = (_stack([s]) for s in _segments(episode, 4))
  one = np.full((1, 4), Source.ACTOR)
  prev = prev._replace(reward=np.array([[1.0, 2.0, 3.0, 4.0]]), source=one)
  cur = cur._replace(
    reward=np.array([[5.0, 6.0, 7.0, 8.0]]),
    source=one,
    terminated=np.array([False]),
  )
  for name, value in changes.items():
    which, field = name.split('_', 1)
    if which == 'prev':
      prev = prev._replace(**{field: np.array(value)})
    else:
      cur = cur._replace(**{field: np.array(value)})
  return prev, cur


def test_rows_of_a_plain_pair():
  prev, cur = _pair()
  rows, keep = _builder()(prev, cur)
  assert keep.tolist() == [True, True]
  # 1 + .9*2 + .81*3 + .729*4 and 3 + .9*4 + .81*5 + .729*6.
  np.testing.assert_allclose(rows.reward, [8.146, 15.024], rtol=1e-6)
  np.testing.assert_allclose(rows.discount, 0.9**4, rtol=1e-6)
  np.testing.assert_array_equal(rows.next_z_rl[0], prev.final.z_rl[0])
  np.testing.assert_array_equal(rows.next_z_rl[1], cur.features.z_rl[0, 1])


def test_success_ends_the_row_and_a_time_limit_does_not():
  rows, keep = _builder()(*_pair(prev_terminated=[True]))
  assert keep.tolist() == [True, True]
  assert rows.discount.tolist() == [0.0, 0.0]
  rows, keep = _builder()(*_pair(prev_truncated=[True]))
  # The second window would run past the limit.
  assert keep.tolist() == [True, False]
  np.testing.assert_allclose(rows.discount[0], 0.9**4, rtol=1e-6)


def test_early_success_holds_the_last_command():
  valid = [[True, True, True, False]]
  prev, cur = _pair(prev_terminated=[True], prev_valid=valid)
  rows, keep = _builder()(prev, cur)
  assert keep.tolist() == [True, True]
  # 1 + .9*2 + .81*3, and step 2 alone.
  np.testing.assert_allclose(rows.reward, [5.23, 3.0], rtol=1e-6)
  np.testing.assert_allclose(
    rows.action_chunk[1],
    np.tile(_encode(prev.command[0, 2], prev.features.pose[0, 1]), (4, 1)),
    rtol=1e-6,
  )


def test_what_follows_a_failure_cannot_poison_the_rows():
  prev, cur = _pair(
    cur_terminated=[True], cur_valid=[[True, False, False, False]]
  )
  broken = jax.tree.map(lambda x: np.full_like(x, np.nan), cur.features)
  rows, keep = _builder()(prev, cur._replace(features=broken))
  assert keep.tolist() == [True, True]
  assert rows.discount[1] == 0.0
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(rows))


def test_a_change_of_driver_inside_the_window_is_mixed():
  rows, _ = _builder()(*_pair(cur_source=[[Source.HUMAN] * 4]))
  assert rows.source.tolist() == [Source.ACTOR, Source.MIXED]
  prev, _ = _pair()
  np.testing.assert_array_equal(
    rows.ref_chunk[0], prev.features.reference[0, 0]
  )
  own, human = rows.ref_chunk[1][:2], rows.ref_chunk[1][2:]
  np.testing.assert_array_equal(own, prev.features.reference[0, 1][:2])
  np.testing.assert_array_equal(human, rows.action_chunk[1][2:])


def test_an_unknown_correction_is_refused():
  with pytest.raises(
    ValueError, match="intervention_reference must be one of .*: 'none'"
  ):
    _builder('none')(*_pair())


def test_stride_must_divide_the_chunk():
  with pytest.raises(ValueError, match='divide the chunk of 4 steps: 3'):
    rows_lib.build_rows(*_pair(), encode=_encode, gamma=0.9, stride=3)


def test_rows_match_the_spec():
  spec = rows_lib.transition_spec(_Z, _P, 4, _A)
  rows, _ = jax.eval_shape(_builder(), *jax.tree.map(jnp.asarray, _pair()))
  expected = jax.tree.map(lambda x: (2, *x.shape), spec)
  assert jax.tree.map(lambda x: x.shape, rows) == expected
  assert jax.tree.map(lambda x: x.dtype, rows) == jax.tree.map(
    lambda x: x.dtype, spec
  )


def test_candidates_of_the_successor_are_stored():
  rng = np.random.default_rng(0)
  candidates = rng.normal(size=(3, 1, 2, 5, 4, 3))  # three of each of E, C/s

  def seen(segment, part):
    return segment._replace(
      features=segment.features._replace(candidates=candidates[part]),
      final=segment.final._replace(candidates=candidates[2, :, 0]),
    )

  prev, cur = _pair(cur_terminated=[False])
  rows, keep = rows_lib.build_rows(
    seen(prev, 0), seen(cur, 1), encode=_encode, gamma=_GAMMA, stride=_STRIDE
  )
  assert keep.all()
  np.testing.assert_allclose(rows.next_candidates[0], candidates[2, 0, 0])
  np.testing.assert_allclose(
    rows.next_candidates[1], candidates[1, 0, 1], rtol=1e-6
  )


def test_the_noise_of_a_chunk_is_stored_for_rows_of_whole_chunks():
  prev, cur = _pair()
  noise = np.random.default_rng(0).normal(size=(1, 6, 3)).astype('f4')

  def thin(segment):
    return segment._replace(
      features=jax.tree.map(lambda x: x[:, :1], segment.features), noise=noise
    )

  build = functools.partial(rows_lib.build_rows, encode=_encode, gamma=_GAMMA)
  rows, _ = build(thin(prev), thin(cur), stride=4)
  np.testing.assert_array_equal(rows.noise, noise)
  with pytest.raises(ValueError, match='stride must be the chunk of 4 .*: 2'):
    build(prev._replace(noise=noise), cur._replace(noise=noise), stride=_STRIDE)
