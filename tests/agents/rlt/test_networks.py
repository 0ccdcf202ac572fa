"""Actor, critics and exploration noise."""

import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.agents import rlt

_Z, _P, _C, _A, _B = 5, 4, 4, 2, 6


def _nets(**changes) -> rlt.Networks:
  config = rlt.RltConfig(**({'hidden_dims': (16, 16)} | changes))
  return rlt.make_networks(config, _Z, _P, _C, _A)


def _rows(seed: int = 0) -> tuple[jax.Array, ...]:
  keys = jax.random.split(jax.random.key(seed), 3)
  shapes = (_B, _Z), (_B, _P), (_B, _C, _A)
  return tuple(map(jax.random.normal, keys, shapes))


def test_shapes():
  nets = _nets(num_critics=3)
  z_rl, proprio, ref = _rows()
  actor = nets.init_actor(jax.random.key(0))
  critic = nets.init_critic(jax.random.key(1))
  assert nets.actor(actor, z_rl, proprio, ref).shape == (_B, _C, _A)
  assert nets.critic(critic, z_rl, proprio, ref).shape == (_B, 3)


def test_values_and_their_gradients_are_those_of_plain_products():
  nets, rows = _nets(layer_norm=False), _rows()
  params = nets.init_critic(jax.random.key(1))

  def plain(params, z_rl, proprio, chunk):
    values = []
    for name in ('critic_0', 'critic_1'):
      x = jnp.concatenate([z_rl, proprio, chunk.reshape(_B, -1)], axis=-1)
      for i in range(3):
        layer = params['params'][name][f'Dense_{i}']
        x = (jax.nn.relu(x) if i else x) @ layer['kernel'] + layer['bias']
      values.append(x[:, 0])
    return jnp.stack(values, axis=-1)

  def value_and_grads(critic):
    def loss(*args):
      return jnp.sum(jnp.sin(critic(*args)))

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(params, *rows)

  chex.assert_trees_all_close(
    value_and_grads(nets.critic), value_and_grads(plain), rtol=1e-5, atol=1e-6
  )


def test_the_chunks_gradient_costs_no_product_for_the_state():
  nets, (z_rl, proprio, chunk) = _nets(num_critics=1), _rows()
  params = nets.init_critic(jax.random.key(1))
  grad = jax.grad(lambda x: jnp.sum(nets.critic(params, z_rl, proprio, x)))
  text = jax.jit(grad).lower(chunk).compile().as_text()
  sizes = [
    sorted(map(int, found.split(',')))
    for found in re.findall(r'= f32\[([\d,]+)\]\S* dot\(', text)
  ]
  assert sorted([_B, _C * _A]) in sizes, sizes
  assert not any(_Z in x or _Z + _P + _C * _A in x for x in sizes), sizes


def test_actor_is_not_a_residual_and_not_bounded():
  nets = _nets()
  z_rl, proprio, ref = _rows()
  params = nets.init_actor(jax.random.key(0))
  silent = jax.tree.map(jnp.zeros_like, params)
  np.testing.assert_array_equal(nets.actor(silent, z_rl, proprio, ref), 0.0)
  last = params['params']['_Mlp_0']['Dense_2']
  last['bias'] = jnp.full_like(last['bias'], 7.0)
  assert np.all(np.asarray(nets.actor(params, z_rl, proprio, ref)) > 2.0)


@pytest.mark.parametrize('used', [True, False])
def test_reference_reaches_the_actor_only_if_it_is_an_input(used):
  nets = _nets(reference_input=used)
  z_rl, proprio, ref = _rows()
  params = nets.init_actor(jax.random.key(0))
  here = nets.actor(params, z_rl, proprio, ref)
  there = nets.actor(params, z_rl, proprio, ref + 1.0)
  assert np.allclose(here, there) == (not used)


def test_critics_differ_and_layer_norm_bounds_them():
  z_rl, proprio, chunk = _rows()
  values = {}
  for layer_norm in (True, False):
    nets = _nets(layer_norm=layer_norm)
    params = nets.init_critic(jax.random.key(1))
    values[layer_norm] = nets.critic(params, z_rl, proprio, 1e6 * chunk)
  assert not np.allclose(values[True][:, 0], values[True][:, 1])
  assert np.max(np.abs(values[True])) < 10.0
  assert np.max(np.abs(values[False])) > 1e3


def test_noise_is_held_over_the_chunk_and_differs_across_rows_and_entries():
  noise = rlt.draw_exploration_noise(
    jax.random.key(0), (_B, _C, _A), 0.5, 'per_chunk'
  )
  np.testing.assert_array_equal(noise, np.broadcast_to(noise[:, :1], (6, 4, 2)))
  assert len(np.unique(noise)) == _B * _A


def test_independent_noise_differs_at_every_step():
  noise = rlt.draw_exploration_noise(
    jax.random.key(0), (_B, _C, _A), 0.5, 'per_step'
  )
  assert len(np.unique(noise)) == _B * _C * _A


@pytest.mark.parametrize('kind', ['per_chunk', 'per_step'])
def test_exploration_std_is_the_std_of_each_entry(kind):
  noise = rlt.draw_exploration_noise(jax.random.key(0), (5000, 2, 2), 0.3, kind)
  np.testing.assert_allclose(np.std(noise, axis=0), 0.3, atol=0.01)


def test_act_adds_noise_to_the_mean():
  nets = _nets()
  rows, key = _rows(), jax.random.key(4)
  params = nets.init_actor(jax.random.key(0))
  mean = nets.actor(params, *rows)
  np.testing.assert_allclose(rlt.act(nets, params, *rows, key, 0.0), mean)
  moved = rlt.act(nets, params, *rows, key, 0.5) - mean
  np.testing.assert_allclose(moved[:, 0], moved[:, -1], atol=1e-6)
  assert np.std(moved) > 0.2


def test_batch_of_one_equals_row_zero():
  nets = _nets()
  rows, key = _rows(), jax.random.key(4)
  actor = nets.init_actor(jax.random.key(0))
  critic = nets.init_critic(jax.random.key(1))
  first = [x[:1] for x in rows]
  np.testing.assert_allclose(
    rlt.act(nets, actor, *first, key, 0.0)[0],
    rlt.act(nets, actor, *rows, key, 0.0)[0],
    rtol=1e-5,
    atol=1e-6,
  )
  np.testing.assert_allclose(
    nets.critic(critic, *first)[0],
    nets.critic(critic, *rows)[0],
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  'field, value',
  [
    ('hidden_dims', ()),
    ('num_critics', 0),
    ('exploration_std', -0.1),
    ('exploration_noise', 'pink'),
  ],
)
def test_bad_config_names_the_rule_and_the_value(field, value):
  with pytest.raises(ValueError, match=re.escape(f': {value!r}.')) as error:
    dataclasses.replace(rlt.RltConfig(), **{field: value})
  assert str(error.value).startswith(f'{field} must')


def test_frozen_entries_stay_zero_for_every_actor():
  config = rlt.RltConfig(hidden_dims=(8,), frozen_action_dims=(1, 2))
  nets = rlt.make_networks(config, 3, 2, 4, 3)
  params = nets.init_actor(jax.random.PRNGKey(0))
  inputs = jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones((5, 4, 3))
  chunk = rlt.act(nets, params, *inputs, jax.random.PRNGKey(1), 1.0)
  assert not np.any(chunk[..., 1:])
  assert np.all(chunk[..., 0] != 0)


def test_frozen_entries_have_no_effect_on_networks():
  config = rlt.RltConfig(hidden_dims=(8,), frozen_action_dims=(0, 2))
  nets = rlt.make_networks(config, 3, 2, 4, 3)
  actor = nets.init_actor(jax.random.PRNGKey(0))
  critic = nets.init_critic(jax.random.PRNGKey(1))
  kernels = actor['params']['_Mlp_0'], critic['params']['critic_0']
  assert [x['Dense_0']['kernel'].shape for x in kernels] == [(9, 8), (9, 8)]
  assert kernels[0]['Dense_1']['kernel'].shape == (8, 4)
  state = jnp.ones((5, 3)), jnp.ones((5, 2))
  for entry, matters in enumerate((False, True, False)):
    moved = jnp.zeros((5, 4, 3)).at[..., entry].set(1.0)
    for net, params in ((nets.actor, actor), (nets.critic, critic)):
      same = np.array_equal(
        net(params, *state, moved), net(params, *state, 0.0 * moved)
      )
      assert same != matters


def test_all_entries_frozen_is_refused():
  config = rlt.RltConfig(frozen_action_dims=(0, 1, 2))
  with pytest.raises(
    ValueError, match='frozen_action_dims must leave one of 3'
  ):
    rlt.make_networks(config, 3, 2, 4, 3)


def test_a_frozen_entry_that_does_not_exist_is_refused():
  config = rlt.RltConfig(frozen_action_dims=(3,))
  with pytest.raises(ValueError, match='frozen_action_dims must be below 3'):
    rlt.make_networks(config, 3, 2, 4, 3)
