"""Q-chunking: which candidate is chosen, and what it is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.best_of_n import agent as best_of_n
from rlt_jax.agents.best_of_n.config import BestOfNConfig
from rlt_jax.types import Features

_SIZES = Sizes(3, 2, 2, 2, frozen_action_dims=(1,))


def make(**settings):
  config = BestOfNConfig(
    **{'hidden_dims': (32,), 'batch_size': 64, 'critic_lr': 3e-3} | settings
  )
  return registry.make('best_of_n', config, _SIZES)


def test_the_candidate_of_the_largest_mean_value_is_chosen():
  # Means: 0.5, 0.6, 0.4 and 0.1, 0.0, 0.2.
  q = jnp.array([
    [[0.1, 0.9], [0.6, 0.6], [0.8, 0.0]],
    [[0.1, 0.1], [0.0, 0.0], [0.0, 0.4]],
  ])  # fmt: skip
  candidates = jnp.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
  found = best_of_n.choose(q, candidates)
  np.testing.assert_array_equal(found, [candidates[0, 1], candidates[1, 2]])


def test_the_target_by_hand():
  q = jnp.array([[[0.1, 0.9], [0.6, 0.6]]])  # chooses the second
  target_q = jnp.array([[[0.9, 0.9], [0.2, 0.4]]])  # worth 0.3
  reward, discount = jnp.array([0.1]), jnp.array([0.5])
  found = best_of_n.target(q, target_q, reward, discount, None)
  np.testing.assert_allclose(found, [0.25], rtol=1e-6)
  found = best_of_n.target(q, target_q, reward + 2, discount, (0.0, 1.0))
  np.testing.assert_allclose(found, [1.0])


def test_with_one_candidate_it_is_the_vla():
  agent = make(num_candidates=1)
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  reference = np.random.default_rng(0).normal(size=(4, 2, 2)).astype('f4')
  features = Features(
    np.zeros((4, 3), 'f4'), np.zeros((4, 2), 'f4'), reference, None,
    reference[:, None],
  )  # fmt: skip
  for explore in (False, True):
    chunk = agent.act(params, features, jax.random.PRNGKey(0), explore)
    np.testing.assert_array_equal(chunk, reference)


def test_it_learns_to_choose_and_values_the_choice():
  agent = make(num_candidates=4)
  rng = np.random.default_rng(0)
  num = 1024
  chunk = rng.normal(size=(num, 2, 2)).astype('f4')
  # Half of the rows end with a reward for a large first entry; the others lead
  # there, with four chunks to choose from.
  ends = np.arange(num) % 2 == 0
  stage = np.where(ends, 1.0, -1.0).astype('f4')
  worth = 1 / (1 + np.exp(-chunk[:, 0, 0]))
  zeros = np.zeros((num, 2), 'f4')
  state_of = lambda x: np.stack([x, 0 * x, 0 * x], 1)  # noqa: E731
  rows = agent.row_spec._replace(
    z_rl=state_of(stage), proprio=zeros, next_z_rl=state_of(0 * stage + 1),
    next_proprio=zeros, action_chunk=chunk,
    reward=np.where(ends, worth, 0.0).astype('f4'),
    discount=np.where(ends, 0.0, 0.9).astype('f4'),
    next_candidates=rng.normal(size=(num, 4, 2, 2)).astype('f4'),
  )  # fmt: skip
  ring = replay.make_ring(num, agent.batch_size)
  stored = ring.add(ring.init(agent.row_spec), rows, jnp.ones(num, bool))
  state = agent.init(jax.random.PRNGKey(0))
  update = jax.jit(lambda state: agent.update(state, stored, ring.sample))
  for _ in range(60):
    state, metrics = update(state)
  assert float(metrics['finite']) == 1.0
  assert int(agent.num_updates(state)) == 60 * 20
  choices = rng.normal(size=(200, 4, 2, 2)).astype('f4')
  features = Features(
    state_of(np.ones(200, 'f4')), zeros[:200], choices[:, 0], None, choices
  )
  found = agent.act(
    agent.policy_params(state), features, jax.random.PRNGKey(0), True
  )
  best = choices[..., 0, 0].max(axis=1)
  assert np.mean(found[:, 0, 0] == best) > 0.9
  # The largest of four normal draws has a mean sigmoid of about 0.72.
  critics = best_of_n.ChunkCritics(agent.config, _SIZES)
  early = critics(
    state.params, state_of(-np.ones(200, 'f4')), zeros[:200],
    chunk[:200, None],
  )  # fmt: skip
  assert np.mean(early) == pytest.approx(0.9 * 0.72, abs=0.06)


def test_resting_entries_are_not_read():
  agent = make(num_candidates=2)
  critics = best_of_n.ChunkCritics(agent.config, _SIZES)
  params = critics.init(jax.random.PRNGKey(0))
  chunk = np.random.default_rng(0).normal(size=(3, 1, 2, 2)).astype('f4')
  state = np.ones((3, 3), 'f4'), np.ones((3, 2), 'f4')
  other = chunk.copy()
  other[..., 1] += 5.0
  np.testing.assert_array_equal(
    critics(params, *state, chunk), critics(params, *state, other)
  )
  other[..., 0] += 5.0
  assert not np.allclose(
    critics(params, *state, chunk), critics(params, *state, other)
  )


@pytest.mark.parametrize(
  'field, value',
  [
    ('num_candidates', 0),
    ('num_critics', 0),
    ('hidden_dims', ()),
    ('critic_lr', 0.0),
    ('tau', 2.0),
    ('target_clip', (1.0, 1.0)),
    ('updates_per_dispatch', 0),
  ],
)
def test_bad_value_is_refused(field, value):
  with pytest.raises(ValueError, match=field):
    BestOfNConfig(**{field: value})
