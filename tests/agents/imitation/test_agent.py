"""The agent that imitates the reference."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.imitation.config import ImitationConfig
from rlt_jax.types import Features

_SIZES = Sizes(5, 4, 4, 3, frozen_action_dims=(1,))
_CONFIG = ImitationConfig(
  hidden_dims=(32,), batch_size=32, learning_rate=3e-3, updates_per_dispatch=50
)


def _agent(config=_CONFIG):
  return registry.make('imitation', config, _SIZES)


def _filled(agent):
  """A ring whose reference is a function of z_rl."""
  keys = jax.random.split(jax.random.key(1), 2)
  z_rl = jax.random.normal(keys[0], (128, 5))
  rows = agent.row_spec._replace(
    z_rl=z_rl,
    proprio=jnp.zeros((128, 4)),
    ref_chunk=jnp.tile(z_rl[:, None, :3], (1, 4, 1)),
  )
  ring = replay.make_ring(128, agent.batch_size)
  return ring, ring.add(ring.init(agent.row_spec), rows, jnp.ones(128, bool))


def _train(agent, dispatches, seed=0):
  ring, stored = _filled(agent)
  state = agent.init(jax.random.key(seed))
  update = jax.jit(lambda state, rows: agent.update(state, rows, ring.sample))
  losses = []
  for _ in range(dispatches):
    state, metrics = update(state, stored)
    assert float(metrics['finite']) == 1.0
    losses.append(float(metrics['actor_loss']))
  return state, losses


def test_it_learns_the_reference_and_also_without_seeing_it():
  agent = _agent()
  state, losses = _train(agent, 6)
  assert losses[-1] < 0.2 * losses[0]
  assert int(agent.num_updates(state)) == 300
  rows = _filled(agent)[1].rows
  hidden = Features(
    rows.z_rl, rows.proprio, jnp.zeros_like(rows.ref_chunk), None
  )
  chunk = agent.act(
    agent.policy_params(state), hidden, jax.random.key(0), False
  )
  wanted = rows.ref_chunk.at[..., 1].set(0.0)
  assert np.mean((chunk - wanted) ** 2) < 0.2 * np.mean(wanted**2)
  np.testing.assert_array_equal(chunk[..., 1], 0.0)


def test_exploration_holds_one_draw_over_the_chunk():
  agent = _agent()
  rows = _filled(agent)[1].rows
  features = Features(rows.z_rl, rows.proprio, rows.ref_chunk, None)
  params = agent.policy_params(agent.init(jax.random.key(0)))
  mean, noisy = (
    agent.act(params, features, jax.random.key(2), explore)
    for explore in (False, True)
  )
  noise = np.asarray(noisy - mean)
  np.testing.assert_allclose(noise[:, 0], noise[:, -1], atol=1e-5)
  assert 0.3 < noise[..., (0, 2)].std() < 0.6
  np.testing.assert_array_equal(noise[..., 1], 0.0)


def test_it_stores_only_what_it_reads():
  agent = _agent()
  stored = [x for x in agent.row_spec if x is not None]
  assert len(stored) == 3
  rows = replay.transition_spec(*_SIZES[:4])
  selected = replay.select_fields(rows, agent.row_spec)
  assert selected == agent.row_spec


def test_the_exported_layers_are_the_actor():
  agent = _agent()
  params = agent.policy_params(agent.init(jax.random.key(0)))
  rows = [np.random.default_rng(0).normal(size=s) for s in ((5,), (4,), (4, 3))]
  x = np.concatenate([np.ravel(x) for x in rows])
  layers = agent.mlp_policy.layers(params)
  for i in range(0, len(layers), 2):
    x = x @ layers[i] + layers[i + 1]
    x = np.maximum(x, 0.0) if i < len(layers) - 2 else x
  x = x.reshape(4, 3)
  x[:, agent.mlp_policy.frozen_action_dims] = 0.0
  np.testing.assert_allclose(
    agent.mlp_policy.apply(params, *rows), x, atol=1e-5
  )


_OTHER = {
  'batch_size': 16,
  'hidden_dims': (16,),
  'reference_dropout': 0.1,
  'updates_per_dispatch': 10,
  'learning_rate': 1e-3,
}


@pytest.mark.parametrize('field', _OTHER)
def test_every_field_of_the_update_changes_it(field):
  plain, _ = _train(_agent(), 1)
  config = ImitationConfig(
    **{name: getattr(_CONFIG, name) for name in _OTHER} | {field: _OTHER[field]}
  )
  other, _ = _train(_agent(config), 1)
  pairs = zip(
    jax.tree.leaves(plain.params), jax.tree.leaves(other.params), strict=True
  )
  assert any(x.shape != y.shape or not np.allclose(x, y) for x, y in pairs)


@pytest.mark.parametrize(
  'field, value',
  [
    ('batch_size', 0),
    ('hidden_dims', ()),
    ('exploration_std', -0.1),
    ('reference_dropout', 1.0),
    ('updates_per_dispatch', 0),
    ('learning_rate', 0.0),
  ],
)
def test_bad_value_is_refused(field, value):
  with pytest.raises(ValueError, match=re.escape(f': {value}.')) as error:
    ImitationConfig(**{field: value})
  assert str(error.value).startswith(field)
