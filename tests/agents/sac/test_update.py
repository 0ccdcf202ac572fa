"""Losses of soft actor-critic against numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.sac import policy, update
from rlt_jax.agents.sac.config import SacConfig
from rlt_jax.types import Transition

_SIZES = Sizes(3, 2, 2, 2)


def test_the_target_is_the_smallest_value_without_entropy():
  next_q = jnp.array([[0.5, 0.3], [0.9, 0.8], [0.2, 0.7]])
  reward, discount = jnp.array([0.0, 0.5, 1.0]), jnp.array([0.9, 0.9, 0.0])
  found = update.target(next_q, reward, discount, None)
  np.testing.assert_allclose(found, [0.27, 1.22, 1.0], rtol=1e-6)
  found = update.target(next_q, reward, discount, (0.0, 1.0))
  np.testing.assert_allclose(found, [0.27, 1.0, 1.0], rtol=1e-6)


def test_the_actor_loss_weighs_entropy_and_the_mean_value():
  q, log_p = jnp.array([[0.2, 0.4], [0.6, 0.8]]), jnp.array([1.0, -3.0])
  # (0.1 * 1 - 0.3 + 0.1 * -3 - 0.7) / 2
  assert float(update.actor_loss(q, log_p, 0.1)) == pytest.approx(-0.6)


def test_the_density_is_that_of_the_squashed_gaussian():
  mean, log_std = jnp.array([0.3, -1.0]), jnp.log(jnp.array([0.5, 2.0]))
  u, log_p = policy.draw(mean, log_std, jax.random.PRNGKey(0))
  # p(u) of each entry is the normal density at atanh(u) over 1 - u^2.
  x = np.arctanh(np.asarray(u, np.float64))
  normal = stats.norm.logpdf(x, mean, np.exp(log_std))
  assert float(log_p) == pytest.approx(np.sum(normal - np.log(1 - u**2)), 1e-4)
  # It stays finite where tanh rounds to one.
  far, density = policy.squash(jnp.array([40.0]), jnp.zeros(1), jnp.zeros(1))
  assert float(far[0]) == 1.0 and np.isfinite(density)


def plain_actions():
  """Chunks [2, 2], each entry 3 times u."""
  return update.Actions(
    dim=4,
    observe=lambda view: jnp.concatenate([view.z_rl, view.proprio], -1),
    decode=lambda u, view: 3.0 * u,
    executed=lambda rows: rows.action_chunk.reshape(-1, 4),
  )


def make(**settings):
  config = SacConfig(
    **{'hidden_dims': (16,), 'batch_size': 32, 'cycles_per_dispatch': 20}
    | settings
  )
  return update.Sac(config=config, sizes=_SIZES, actions=plain_actions())


def sample(rows, key):
  index = jax.random.randint(key, (32,), 0, len(rows.reward))
  return jax.tree.map(lambda x: jnp.asarray(x)[index], rows)


def rows(rng):
  """Terminal rows whose reward is a peak at the action (1, 1, -1, -1)."""
  chunk = rng.uniform(-3, 3, (2000, 2, 2)).astype(np.float32)
  wanted = np.array([[1.0, 1.0], [-1.0, -1.0]])
  zeros = np.zeros((2000, 3), np.float32)
  return Transition(*[None] * len(Transition._fields))._replace(
    z_rl=zeros, proprio=zeros[:, :2], next_z_rl=zeros,
    next_proprio=zeros[:, :2], action_chunk=chunk,
    reward=np.exp(-np.sum((chunk - wanted) ** 2, (1, 2)) / 8).astype('f4'),
    discount=np.zeros(2000, np.float32),
  )  # fmt: skip


def test_it_learns_the_action_of_the_largest_reward():
  sac = make(actor_lr=3e-3, critic_lr=3e-3, init_temperature=1e-4)
  stored = rows(np.random.default_rng(0))
  state = sac.init(jax.random.PRNGKey(0))
  step = jax.jit(lambda state: sac.update(state, stored, sample))
  for _ in range(60):
    state, metrics = step(state)
  assert float(metrics['finite']) == 1.0
  assert int(state.updates) == 60 * 40
  view = update.View(jnp.zeros((1, 3)), jnp.zeros((1, 2)), None)
  u = sac.squashed(state.actor, view, jax.random.PRNGKey(0), False)
  # An action of zeros has 0.61.
  far = np.sum((3.0 * np.asarray(u[0]) - np.array([1, 1, -1, -1])) ** 2)
  assert np.exp(-far / 8) > 0.8


def test_the_target_takes_the_smallest_of_the_critics_that_are_drawn():
  stored = rows(np.random.default_rng(0))
  batch = sample(stored, jax.random.PRNGKey(0))
  batch = batch._replace(reward=jnp.zeros(32), discount=jnp.full(32, 0.5))
  found = set()
  sac = make(num_critics=3, target_critics=2, target_clip=None)
  state = sac.init(jax.random.PRNGKey(0))
  # Critic i says i + 1 everywhere; the target is half of the smaller of two.
  targets = jax.tree.map(jnp.zeros_like, state.target_critics)
  for i in range(3):
    output = targets['q']['params'][f'critic_{i}']['Dense_1']
    output['bias'] = jnp.full(1, i + 1.0)
  state = state.replace(target_critics=targets)
  step = jax.jit(lambda key: sac.critic_step(state, batch, key)[1])
  for key in jax.random.split(jax.random.PRNGKey(1), 40):
    found.add(round(float(step(key)['target_mean']), 3))
  assert found == {0.5, 1.0}
  with pytest.raises(ValueError, match='0 to num_critics 3: 4'):
    SacConfig(num_critics=3, target_critics=4)


def test_the_temperature_moves_toward_the_wanted_entropy():
  stored = rows(np.random.default_rng(0))
  for target_entropy, sign in ((-8.0, -1), (0.6, 1)):
    sac = make(target_entropy=target_entropy, temperature_lr=1e-2)
    state = sac.init(jax.random.PRNGKey(0))
    after, _ = jax.jit(lambda s, sac=sac: sac.update(s, stored, sample))(state)
    moved = float(after.log_temperature - state.log_temperature)
    assert np.sign(moved) == sign, target_entropy


def test_an_actor_that_waits_does_not_move():
  sac = make()
  sac = update.Sac(
    config=sac.config, sizes=_SIZES, actions=sac.actions, actor_starts=1000
  )
  stored, state = (
    rows(np.random.default_rng(0)),
    sac.init(jax.random.PRNGKey(0)),
  )
  after, _ = jax.jit(lambda s: sac.update(s, stored, sample))(state)
  for x, y in zip(
    jax.tree.leaves(state.actor), jax.tree.leaves(after.actor), strict=True
  ):
    np.testing.assert_array_equal(x, y)
  assert int(after.updates) == 40


@pytest.mark.parametrize(
  'field, value',
  [
    ('hidden_dims', ()),
    ('num_critics', 0),
    ('actor_lr', 0.0),
    ('init_temperature', 0.0),
    ('init_std', -1.0),
    ('tau', 0.0),
    ('target_clip', (1.0, 0.0)),
    ('cycles_per_dispatch', 0),
  ],
)
def test_bad_value_is_refused(field, value):
  with pytest.raises(ValueError, match=field):
    SacConfig(**{field: value})
