"""Batches of two kinds of rows in fixed shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.types import Source, Transition

_NONE = Transition(*[None] * len(Transition._fields))


def stored(sources, capacity=16, share=0.5, batch=8):
  """A ring whose rows have their number as reward."""
  spec = _NONE._replace(
    reward=jax.ShapeDtypeStruct((), jnp.float32),
    source=jax.ShapeDtypeStruct((), jnp.int32),
  )
  ring = replay.make_ring(capacity, batch, vla_share=share)
  rows = _NONE._replace(
    reward=jnp.arange(len(sources), dtype=jnp.float32),
    source=jnp.array(sources, jnp.int32),
  )
  return ring, ring.add(ring.init(spec), rows, jnp.ones(len(sources), bool))


def draws(ring, state, num=400):
  keys = jax.random.split(jax.random.PRNGKey(0), num)
  return jax.jit(jax.vmap(lambda key: ring.sample(state, key)))(keys)


@pytest.mark.parametrize('share, count', [(0.5, 4), (0.25, 2), (0.0, 0)])
def test_every_batch_has_exactly_the_share(share, count):
  kinds = [0, 1, 1, 0, 0, 1, 3, 1]
  rows = draws(*stored(kinds, share=share))
  prior = rows.source == Source.VLA
  assert (np.sum(prior, axis=1) == count).all()
  # Within a kind all rows are drawn alike; slots that hold none never.
  numbers, drawn = np.unique(rows.reward, return_counts=True)
  wanted = [i for i, kind in enumerate(kinds) if kind in (1, 3) or count]
  assert numbers.tolist() == wanted
  others = drawn[[kinds[int(i)] in (1, 3) for i in numbers]]
  assert others.min() > 0.75 * others.mean()


def test_what_a_person_drove_is_prior_data_before_what_the_vla_drove():
  rows = draws(*stored([0, 1, 2, 0, 2, 1, 0, 0]))
  prior = rows.source == Source.HUMAN
  assert (np.sum(prior, axis=1) == 4).all()
  # The VLA's rows are not lost: they are among the others.
  assert set(np.unique(rows.reward)) == {float(i) for i in range(8)}


@pytest.mark.parametrize('kinds', [[2, 2, 2], [0, 0, 0], [1, 1, 3]])
def test_one_kind_fills_the_batch_where_the_other_is_missing(kinds):
  rows = draws(*stored(kinds))
  assert set(np.unique(rows.reward)) == {0.0, 1.0, 2.0}


def test_rows_that_were_replaced_are_not_drawn():
  ring, state = stored([0, 0, 1, 1], capacity=4, batch=4)
  more = _NONE._replace(
    reward=jnp.array([7.0]), source=jnp.array([1], jnp.int32)
  )
  state = ring.add(state, more, jnp.ones(1, bool))
  rows = draws(ring, state)
  assert set(np.unique(rows.reward)) == {1.0, 2.0, 3.0, 7.0}


def test_a_share_needs_a_number_and_the_sources():
  ring, state = stored([0, 1], share=1.5)
  with pytest.raises(ValueError, match=r'vla_share must be in \[0, 1\]: 1.5'):
    ring.sample(state, jax.random.PRNGKey(0))
  ring, state = stored([0, 1])
  rows = state.rows._replace(source=None)
  with pytest.raises(ValueError, match='rows that store their source'):
    ring.sample(state.replace(rows=rows), jax.random.PRNGKey(0))
