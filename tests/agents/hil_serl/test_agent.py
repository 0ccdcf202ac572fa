"""HIL-SERL's learner: one-step actions, held ones, and what critics read."""

import jax
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.hil_serl.config import HilSerlConfig
from rlt_jax.types import Features, Source

_SIZES = Sizes(3, 2, 4, 2, frozen_action_dims=(1,))


def make(sizes=_SIZES, **settings):
  config = HilSerlConfig(**{'hidden_dims': (32,), 'batch_size': 32} | settings)
  return registry.make('hil_serl', config, sizes)


def features(rows=20):
  rng = np.random.default_rng(0)
  z_rl, proprio, chunk = (
    rng.normal(size=(rows, *shape)).astype('f4')
    for shape in ((3,), (2,), (4, 2))
  )
  return Features(z_rl, proprio, chunk, None)


def act(agent, seen, explore=True):
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  return np.asarray(agent.act(params, seen, jax.random.PRNGKey(1), explore))


def test_it_does_not_read_the_vlas_chunk_and_stays_within_the_bound():
  agent = make(bound=2.0, init_std=4.0)
  chunk = act(agent, features())
  other = act(agent, features()._replace(reference=np.ones((20, 4, 2), 'f4')))
  np.testing.assert_array_equal(chunk, other)
  assert 1.8 < np.abs(chunk[..., 0]).max() <= 2.0
  np.testing.assert_array_equal(chunk[..., 1], 0.0)
  assert chunk[:, 0, 0].tolist() != chunk[:, 1, 0].tolist()


def test_a_held_action_is_one_for_all_steps():
  chunk = act(make(hold=True), features())
  np.testing.assert_array_equal(chunk, np.tile(chunk[:, :1], (1, 4, 1)))
  assert len(np.unique(chunk[:, 0, 0])) == 20


def test_it_learns_the_rewarded_action():
  agent = make(hold=True, actor_lr=3e-3, critic_lr=3e-3, init_temperature=1e-4)
  rng, num = np.random.default_rng(0), 1500
  chunk = rng.uniform(-2.5, 2.5, (num, 1, 2)).astype('f4')
  chunk = np.broadcast_to(chunk, (num, 4, 2))
  reward = np.exp(-np.mean((chunk[..., 0] - 1.0) ** 2, 1)).astype('f4')
  zeros = np.zeros((num, 3), 'f4')
  rows = agent.row_spec._replace(
    z_rl=zeros, proprio=zeros[:, :2], action_chunk=chunk, reward=reward,
    discount=np.zeros(num, 'f4'), next_z_rl=zeros, next_proprio=zeros[:, :2],
    source=(np.arange(num) % 2 * Source.ACTOR).astype('i4'),
  )  # fmt: skip
  ring = replay.make_ring(num, agent.batch_size, vla_share=agent.vla_share)
  stored = ring.add(ring.init(agent.row_spec), rows, np.ones(num, bool))
  state = agent.init(jax.random.PRNGKey(0))
  update = jax.jit(lambda state: agent.update(state, stored, ring.sample))
  for _ in range(40):
    state, metrics = update(state)
  assert float(metrics['finite']) == 1.0
  blank = features()._replace(z_rl=zeros[:20], proprio=zeros[:20, :2])
  found = agent.act(
    agent.policy_params(state), blank, jax.random.PRNGKey(0), False
  )
  np.testing.assert_allclose(found[..., 0], 1.0, atol=0.5)


def test_half_of_a_batch_is_prior_data():
  assert make().vla_share == 0.5
  with pytest.raises(ValueError, match='vla_share'):
    HilSerlConfig(vla_share=-0.1)
  with pytest.raises(ValueError, match='bound must be positive: 0'):
    HilSerlConfig(bound=0)
