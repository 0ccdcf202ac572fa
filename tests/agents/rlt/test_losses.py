"""Losses, with numbers a reader can check."""

import functools

import jax
import numpy as np
import pytest

from rlt_jax.agents.rlt import losses


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit], ids=['eager', 'jit'])
def test_target_takes_the_smaller_value_and_stops_at_the_end(wrap):
  target = functools.partial(losses.critic_target, clip=None)
  actual = wrap(jax.vmap(target))(
    np.array([0.1, 1.0]),
    np.array([0.5, 0.0]),
    np.array([[0.8, 0.6], [9.0, 9.0]]),
  )
  # Row 0: .1 + .5 * min(.8, .6) = .4. Row 1 is terminal: the reward alone.
  np.testing.assert_allclose(actual, [0.4, 1.0], rtol=1e-6)


@pytest.mark.parametrize(
  'clip, expected', [(None, 2.0), ((0.0, 1.0), 1.0), ((2.5, 3.0), 2.5)]
)
def test_clip_bounds_the_target(clip, expected):
  one = np.array(1.0)
  target = losses.critic_target(one, one, np.array([1.0, 5.0]), clip)
  assert float(target) == expected


def test_td_error_and_where_its_gradient_goes():
  q, target = np.array([0.2, 0.9]), np.array(0.5)
  np.testing.assert_allclose(losses.td_error(q, target), [0.3, -0.4], rtol=1e-6)

  def total(q, target):
    return losses.td_error(q, target).sum()

  by_q, by_target = jax.grad(total, argnums=(0, 1))(q, target)
  np.testing.assert_array_equal(by_q, [-1.0, -1.0])
  assert float(by_target) == 0.0


def test_actor_objective_takes_the_mean_value_and_sums_the_squares():
  chunk = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
  loss, (value, squares) = losses.actor_objective(
    np.array([0.2, 0.6]), chunk, np.zeros((3, 2)), 0.1
  )
  # The mean of .2 and .6; 1 + 4 + 9 = 14; .1 * 14 - .4 = 1.
  np.testing.assert_allclose(
    [value, squares, loss], [0.4, 14.0, 1.0], rtol=1e-6
  )


def test_batches_are_refused():
  with pytest.raises(AssertionError):
    losses.td_error(np.zeros((4, 2)), np.zeros(4))
