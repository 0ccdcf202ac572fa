"""Losses, with numbers a reader can check."""

import functools

import jax
import numpy as np
import pytest

from rlt_jax.agents.rlt import losses

_ZERO = np.zeros(2)


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit], ids=['eager', 'jit'])
def test_target_takes_the_smaller_value_and_stops_at_the_end(wrap):
  loss = functools.partial(losses.critic_loss, clip=None)
  _, target = wrap(jax.vmap(loss))(
    np.zeros((2, 2)),
    np.array([0.1, 1.0]),
    np.array([0.5, 0.0]),
    np.array([[0.8, 0.6], [9.0, 9.0]]),
  )
  # Row 0: .1 + .5 * min(.8, .6) = .4. Row 1 is terminal: the reward alone.
  np.testing.assert_allclose(target, [0.4, 1.0], rtol=1e-6)


@pytest.mark.parametrize(
  'clip, expected', [(None, 2.0), ((0.0, 1.0), 1.0), ((2.5, 3.0), 2.5)]
)
def test_clip_bounds_the_target(clip, expected):
  one = np.array(1.0)
  next_q = np.array([1.0, 5.0])
  loss, target = losses.critic_loss(_ZERO, one, one, next_q, clip)
  assert float(target) == expected
  assert float(loss) == 2 * expected**2


def test_critic_loss_sums_squares_and_where_its_gradient_goes():
  q, half = np.array([0.2, 0.9]), np.array(0.5)

  def loss(q, reward, next_q):
    return losses.critic_loss(q, reward, half, next_q, None)[0]

  # The target is .1 + .5 * .8 = .5; errors .3 and -.4.
  args = q, np.array(0.1), np.array([0.8, 0.9])
  np.testing.assert_allclose(loss(*args), 0.09 + 0.16, rtol=1e-6)
  by_q, by_reward, by_next = jax.grad(loss, argnums=(0, 1, 2))(*args)
  np.testing.assert_allclose(by_q, [-0.6, 0.8], rtol=1e-6)
  assert float(by_reward) == 0.0
  assert by_next.tolist() == [0.0, 0.0]


def test_actor_loss_takes_the_mean_value_and_sums_the_squares():
  chunk = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
  loss = losses.actor_loss(np.array([0.2, 0.6]), chunk, np.zeros((3, 2)), 0.1)
  # The mean of .2 and .6; 1 + 4 + 9 = 14; .1 * 14 - .4 = 1.
  np.testing.assert_allclose(loss, 1.0, rtol=1e-6)


def test_batches_are_refused():
  with pytest.raises(AssertionError):
    losses.critic_loss(
      np.zeros((4, 2)), np.zeros(4), np.zeros(4), np.zeros((4, 2)), None
    )
