"""The residual: where it starts, how far it goes, and Cal-QL's term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.residual import calibration
from rlt_jax.agents.residual.config import ResidualConfig
from rlt_jax.types import Features, Source

_SIZES = Sizes(3, 2, 2, 2, frozen_action_dims=(1,))


def make(**settings):
  config = ResidualConfig(
    **{'hidden_dims': (32,), 'batch_size': 64, 'pretrain_updates': 0} | settings
  )
  return registry.make('residual', config, _SIZES)


def features(rows=50):
  rng = np.random.default_rng(0)
  z_rl, proprio, chunk = (
    rng.normal(size=(rows, *shape)).astype('f4')
    for shape in ((3,), (2,), (2, 2))
  )
  return Features(z_rl, proprio, chunk, None)


def test_it_starts_as_the_vla_and_stays_within_the_bound():
  agent = make(bound=0.2, init_std=3.0)
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  seen = features()
  chunk = agent.act(params, seen, jax.random.PRNGKey(1), False)
  np.testing.assert_array_equal(chunk, seen.reference)
  chunk = agent.act(params, seen, jax.random.PRNGKey(1), True)
  beyond = np.asarray(chunk - seen.reference)
  assert 0.15 < np.abs(beyond[..., 0]).max() <= 0.2 + 1e-6
  np.testing.assert_array_equal(beyond[..., 1], 0.0)  # a resting entry


def test_the_conservative_term_by_hand():
  # One row, one critic, one action of each kind.
  value = lambda x: jnp.array([[[x]]])  # noqa: E731
  floor, own = jnp.array([0.5]), jnp.array([[0.3]])
  found = calibration.conservative_term(floor, own, value(0.1), value(0.9))
  np.testing.assert_allclose(
    found, [np.log((np.exp(0.1) + np.exp(0.9)) / 2) - 0.3], rtol=1e-5
  )
  # Only what the policy drew is raised to the value of the VLA.
  found = calibration.conservative_term(floor, own, value(0.1), value(0.2))
  np.testing.assert_allclose(
    found, [np.log((np.exp(0.1) + np.exp(0.5)) / 2) - 0.3], rtol=1e-5
  )


def filled(agent, num=512):
  """Terminal rows: the reward is large where the residual is about 0.4."""
  rng = np.random.default_rng(0)
  reference = rng.normal(size=(num, 2, 2)).astype('f4')
  beyond = rng.uniform(-0.5, 0.5, (num, 2, 2)).astype('f4')
  # Half of them were driven by the VLA, without a residual.
  beyond[::2] = 0.0
  zeros = np.zeros((num, 3), 'f4')
  rows = agent.row_spec._replace(
    z_rl=zeros, proprio=zeros[:, :2], ref_chunk=reference,
    action_chunk=reference + beyond,
    reward=np.exp(-8 * np.sum((beyond[..., 0] - 0.4) ** 2, 1)).astype('f4'),
    discount=np.zeros(num, 'f4'), next_z_rl=zeros,
    next_proprio=zeros[:, :2], next_ref_chunk=reference,
    source=np.where(np.arange(num) % 2, Source.ACTOR, Source.VLA).astype('i4'),
  )  # fmt: skip
  ring = replay.make_ring(num, agent.batch_size, vla_share=agent.vla_share)
  return ring, ring.add(ring.init(agent.row_spec), rows, jnp.ones(num, bool))


def trained(agent, dispatches):
  ring, stored = filled(agent)
  state = agent.init(jax.random.PRNGKey(0))
  update = jax.jit(lambda state: agent.update(state, stored, ring.sample))
  for _ in range(dispatches):
    state, metrics = update(state)
    assert float(metrics['finite']) == 1.0
  return state, metrics


def test_it_learns_the_residual_that_is_rewarded():
  agent = make(actor_lr=3e-3, critic_lr=3e-3, init_temperature=1e-4)
  state, _ = trained(agent, 40)
  seen = features()._replace(
    z_rl=np.zeros((50, 3), 'f4'), proprio=np.zeros((50, 2), 'f4')
  )
  chunk = agent.act(
    agent.policy_params(state), seen, jax.random.PRNGKey(1), False
  )
  beyond = np.asarray(chunk - seen.reference)[..., 0]
  assert np.abs(beyond.mean() - 0.4) < 0.12


def test_the_actor_waits_while_the_critics_learn_from_the_vla():
  agent = make(pretrain_updates=40, batch_size=16, conservative_samples=2)
  first = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  same = lambda state: all(  # noqa: E731
    np.array_equal(x, y)
    for x, y in zip(
      jax.tree.leaves(first),
      jax.tree.leaves(agent.policy_params(state)),
      strict=True,
    )
  )
  # The 40th critic step ends the second dispatch, its actor step is the first.
  assert same(trained(agent, 1)[0]) and not same(trained(agent, 3)[0])


def test_the_term_lowers_other_values_and_raises_the_own():
  floor, own = jnp.array([0.5]), jnp.array([[0.3]])
  values = jnp.array([0.1, 0.9, 0.2]).reshape(3, 1, 1)

  def term(own, uniform, drawn):
    return calibration.conservative_term(floor, own, uniform, drawn)[0]

  slopes = jax.grad(term, argnums=(0, 1, 2))(own, values[:1], values[1:])
  assert float(slopes[0][0, 0]) == pytest.approx(-1.0)
  assert float(slopes[1][0, 0, 0]) > 0.1  # also below the floor
  above, below = np.ravel(slopes[2])
  assert above > 0.1 and below == 0.0


def test_the_term_is_there_in_pre_training_only():
  def loss(**settings):
    agent = make(batch_size=16, conservative_samples=2, **settings)
    return float(trained(agent, 1)[1]['conservative_loss'])

  without = loss(conservative_weight=0.0, pretrain_updates=100)
  assert loss(pretrain_updates=0) == pytest.approx(without, abs=1e-6)
  assert abs(loss(pretrain_updates=100) - without) > 1e-3


@pytest.mark.parametrize(
  'field, value',
  [
    ('bound', 0.0),
    ('pretrain_updates', -1),
    ('conservative_weight', -1.0),
    ('conservative_samples', 0),
    ('vla_share', 1.1),
  ],
)
def test_bad_value_is_refused(field, value):
  with pytest.raises(ValueError, match=field):
    ResidualConfig(**{field: value})
