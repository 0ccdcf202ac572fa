"""The ring of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.replay import ring
from rlt_jax.replay import rows as rows_lib

_SPEC = rows_lib.transition_spec(3, 2, 4, 2)


def _rows(ids):
  """Rows whose every entry is the row's id."""
  ids = np.asarray(ids)
  return jax.tree.map(
    lambda x: jnp.broadcast_to(
      ids.reshape(-1, *[1] * len(x.shape)), (len(ids), *x.shape)
    ).astype(x.dtype),
    _SPEC,
  )


def _stored(state):
  return np.asarray(state.rows.reward).tolist()


def test_rows_without_keep_are_not_stored():
  state = ring.init(_SPEC, 5)
  keep = jnp.array([True, False, True, False])
  state = ring.add(state, _rows([1, 2, 3, 4]), keep)
  assert _stored(state) == [1, 3, 0, 0, 0]
  assert (int(state.pointer), int(state.size)) == (2, 2)


def test_oldest_rows_are_overwritten():
  state = ring.init(_SPEC, 5)
  keep = jnp.ones(4, bool)
  state = ring.add(state, _rows([1, 2, 3, 4]), keep)
  state = ring.add(state, _rows([5, 6, 7, 8]), keep)
  assert _stored(state) == [6, 7, 8, 4, 5]
  assert (int(state.pointer), int(state.size)) == (3, 5)


def test_keep_mask_across_the_end_of_the_ring():
  state = ring.init(_SPEC, 3)
  state = ring.add(state, _rows([1, 2]), jnp.ones(2, bool))
  keep = jnp.array([False, True, True])
  state = ring.add(state, _rows([3, 4, 5]), keep)
  assert _stored(state) == [5, 2, 4]
  for leaf in jax.tree.leaves(state.rows):
    assert np.all(leaf == np.reshape([5, 2, 4], (3, *[1] * (leaf.ndim - 1))))


def test_adding_nothing_changes_nothing():
  state = ring.add(ring.init(_SPEC, 3), _rows([1]), jnp.ones(1, bool))
  same = ring.add(state, _rows([7, 8]), jnp.zeros(2, bool))
  jax.tree.map(np.testing.assert_array_equal, state, same)


def test_sample_is_uniform_over_stored_rows_only():
  replay = ring.make_ring(10, 10)
  state = replay.init(_SPEC)
  state = replay.add(state, _rows([1, 2, 3, 4]), jnp.ones(4, bool))
  drawn = jax.vmap(lambda key: replay.sample(state, key).reward)(
    jax.random.split(jax.random.key(0), 800)
  )
  ids, counts = np.unique(drawn, return_counts=True)
  assert ids.tolist() == [1, 2, 3, 4]
  np.testing.assert_allclose(counts / 8000, 0.25, atol=0.02)


def test_sample_keeps_rows_whole_and_follows_the_key():
  state = ring.add(ring.init(_SPEC, 9), _rows(range(9)), jnp.ones(9, bool))
  first = ring.sample(state, jax.random.key(1), 4)
  again = ring.sample(state, jax.random.key(1), 4)
  other = ring.sample(state, jax.random.key(2), 4)
  np.testing.assert_array_equal(first.z_rl[:, 0], first.next_ref_chunk[:, 0, 0])
  np.testing.assert_array_equal(first.reward, again.reward)
  assert first.reward.tolist() != other.reward.tolist()


def test_nbytes_is_the_size_of_the_rows():
  state = ring.init(_SPEC, 7)
  held = sum(x.nbytes for x in jax.tree.leaves(state.rows))
  # Z 3, P 2 and C*A 8 at both ends, the chunk 8, three scalars.
  assert ring.nbytes(_SPEC, 7) == held == 7 * 4 * (2 * (3 + 2 + 8) + 8 + 3)


def test_bad_sizes_are_refused():
  with pytest.raises(ValueError, match='at least one row: 0'):
    ring.make_ring(0, 1)
  with pytest.raises(ValueError, match='batch 6, capacity 5'):
    ring.make_ring(5, 6)
  with pytest.raises(ValueError, match='exceed the capacity 2: 3'):
    ring.add(ring.init(_SPEC, 2), _rows([1, 2, 3]), jnp.ones(3, bool))
  with pytest.raises(ValueError, match='batch of 64 stored rows: 63'):
    ring.check_ready(63, 64)
  ring.check_ready(64, 64)
