"""DSRL: the latent and the noise it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.dsrl import agent as dsrl
from rlt_jax.agents.dsrl.config import DsrlConfig
from rlt_jax.types import Features

_SIZES = Sizes(3, 2, 2, 2, (), 12)


def make(**settings):
  config = DsrlConfig(**{'hidden_dims': (16,), 'batch_size': 8} | settings)
  return registry.make('dsrl', config, _SIZES)


def features(rows=4):
  rng = np.random.default_rng(0)
  z_rl, proprio = (rng.normal(size=(rows, n)).astype('f4') for n in (3, 2))
  return Features(z_rl, proprio, jnp.zeros((rows, 2, 2)), None)


def test_repeated_noise_is_one_vector_at_every_step():
  agent = make()
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  noise = agent.act(params, features(), jax.random.PRNGKey(1), True)
  assert noise.shape == (4, 12, 2)
  np.testing.assert_array_equal(noise, np.tile(noise[:, :1], (1, 12, 1)))
  assert np.abs(noise).max() <= agent.config.bound
  again = agent.act(params, features(), jax.random.PRNGKey(2), False)
  mean = agent.act(params, features(), jax.random.PRNGKey(3), False)
  np.testing.assert_array_equal(again, mean)  # no noise of its own
  prior = agent.prior_noise(jax.random.PRNGKey(0), 2000)
  np.testing.assert_array_equal(prior[:, 0], prior[:, 11])
  assert prior[:, 0].std() == pytest.approx(1.0, abs=0.05)


def test_noise_of_the_subspace_is_standard_normal():
  agent = make(latent='subspace', num_cosines=3)
  noise = np.asarray(agent.prior_noise(jax.random.PRNGKey(0), 20000))[..., 0]
  covariance = np.cov(noise.T)
  np.testing.assert_allclose(covariance, np.eye(12), atol=0.05)


@pytest.mark.parametrize('latent', ['repeated', 'subspace'])
def test_the_latent_is_read_back_from_the_noise(latent):
  config = DsrlConfig(latent=latent, num_cosines=3)
  basis = dsrl.make_basis(config, 12)
  wanted = jax.random.normal(jax.random.PRNGKey(0), (5, basis.shape[1], 2))
  noise = dsrl.noise_of(wanted, basis, latent, jax.random.PRNGKey(1))
  np.testing.assert_allclose(dsrl.latent_of(noise, basis), wanted, atol=1e-5)


def test_the_basis_by_hand():
  # Two steps: the constant, and cos(pi/4), cos(3 pi/4), both of length one.
  basis = dsrl.make_basis(DsrlConfig(latent='subspace', num_cosines=2), 2)
  half = np.sqrt(0.5)
  np.testing.assert_allclose(basis, [[half, half], [half, -half]], atol=1e-6)


def test_it_learns_which_latent_brings_the_reward():
  agent = make(
    actor_lr=3e-3, critic_lr=3e-3, init_temperature=1e-4, batch_size=64
  )
  noise = np.asarray(agent.prior_noise(jax.random.PRNGKey(0), 1500))
  peak = np.exp(-np.sum((noise[:, 0] - np.array([1.0, -0.5])) ** 2, -1))
  zeros = np.zeros((1500, 3), np.float32)
  rows = agent.row_spec._replace(
    z_rl=zeros, proprio=zeros[:, :2], next_z_rl=zeros,
    next_proprio=zeros[:, :2], reward=peak.astype(np.float32),
    discount=np.zeros(1500, np.float32), noise=noise,
  )  # fmt: skip
  ring = replay.make_ring(1500, agent.batch_size)
  stored = ring.add(ring.init(agent.row_spec), rows, jnp.ones(1500, bool))
  state = agent.init(jax.random.PRNGKey(0))
  update = jax.jit(lambda state: agent.update(state, stored, ring.sample))
  for _ in range(40):
    state, metrics = update(state)
  assert float(metrics['finite']) == 1.0
  blank = features()._replace(z_rl=zeros[:4], proprio=zeros[:4, :2])
  found = agent.act(
    agent.policy_params(state), blank, jax.random.PRNGKey(0), False
  )
  np.testing.assert_allclose(found[:, 0], [[1.0, -0.5]] * 4, atol=0.3)


def test_what_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="latent must be one of .*'all'"):
    DsrlConfig(latent='all')
  with pytest.raises(ValueError, match='bound must be positive: 0'):
    DsrlConfig(bound=0)
  with pytest.raises(ValueError, match='horizon of 1 or more: 0'):
    dsrl.make(DsrlConfig(), _SIZES._replace(horizon=0))
  config = DsrlConfig(latent='subspace', num_cosines=13)
  with pytest.raises(ValueError, match='at most the horizon 12 .*: 13'):
    dsrl.make(config, _SIZES)
