"""Returns and ends of episodes, from rows alone."""

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.replay import returns, ring
from rlt_jax.replay import rows as rows_lib
from rlt_jax.types import Outcome

_SPEC = rows_lib.transition_spec(1, 1, 2, 1)


def _rows(*links):
  """Rows of (state, next state, reward, discount)."""
  rows = jax.tree.map(
    lambda x: np.zeros((len(links), *x.shape), x.dtype), _SPEC
  )
  state, after, reward, discount = np.float32(links).T
  return rows._replace(
    z_rl=state[:, None],
    proprio=-state[:, None],
    next_z_rl=after[:, None],
    next_proprio=-after[:, None],
    reward=reward,
    discount=discount,
  )


# Two episodes side by side, one that fails, one cut off and one that runs on.
_ROWS = _rows(
  (1, 2, 0, 0.5),  # success two rows on: 0.5 * 0.5 * 0.8
  (11, 12, 0, 0.5),
  (2, 3, 0, 0.5),
  (12, 12, 0, 0),  # fails
  (3, 3, 0.8, 0),  # success
  (21, 22, 0, 0.5),  # its successor was never stored
  (31, 32, 0, 0.5),
  (32, 33, 0, 0.5),  # the newest row
)


def test_rows_are_followed_to_the_end_of_their_episode():
  found = returns.follow(_ROWS, np.ones(8, bool), num_open=1)
  np.testing.assert_allclose(
    found.returns, [0.2, 0, 0.4, 0, 0.8, 0, np.nan, np.nan]
  )
  success, failure = Outcome.SUCCESS, returns.FAILURE
  assert found.outcome.tolist() == [
    success, failure, success, failure, success, Outcome.TIME_OUT,
    Outcome.RUNNING, Outcome.RUNNING,
  ]  # fmt: skip


def test_a_state_that_comes_again_leads_to_its_next_visit():
  rows = _rows((1, 2, 0, 0.5), (2, 2, 1, 0), (2, 2, 0, 0))
  found = returns.follow(rows, np.ones(3, bool), num_open=0)
  assert found.returns.tolist() == [0.5, 1, 0]


def test_padding_has_no_end():
  found = returns.follow(_ROWS, np.arange(8) > 3, num_open=0)
  assert set(found.outcome[:4].tolist()) == {Outcome.RUNNING}
  assert np.isnan(found.returns[:4]).all()


def test_the_newest_rows_of_a_full_ring_are_in_order():
  state = ring.add(ring.init(_SPEC, 6), _cut(0, 5), jnp.ones(5, bool))
  state = ring.add(state, _cut(5, 8), jnp.ones(3, bool))
  found = returns.newest(state, 4, num_open=1)
  assert found.rows.z_rl[:, 0].tolist() == [3, 21, 31, 32]
  assert found.outcome.tolist() == [
    Outcome.SUCCESS, Outcome.TIME_OUT, Outcome.RUNNING, Outcome.RUNNING,
  ]  # fmt: skip
  thinned = returns.newest(state, 4, num_open=1, every=2)
  assert thinned.rows.z_rl[:, 0].tolist() == [3, 31]
  assert thinned.returns[0] == np.float32(0.8)
  assert len(returns.newest(state, 100, num_open=1).present) == 6


def test_a_ring_that_is_not_full_is_padded_in_front():
  state = ring.add(ring.init(_SPEC, 6), _cut(0, 2), jnp.ones(2, bool))
  found = returns.newest(state, 4, num_open=0)
  assert found.present.tolist() == [False, False, True, True]
  assert found.rows.z_rl[2:, 0].tolist() == [1, 11]


def _cut(start, stop):
  return jax.tree.map(lambda x: jnp.asarray(x[start:stop]), _ROWS)
