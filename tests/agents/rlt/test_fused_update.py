"""The fused update on a chunk bandit."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.agents.rlt import fused_update, RltConfig

_Z, _P, _C, _A, _ROWS = 3, 2, 4, 2, 512
_CONFIG = RltConfig(
  hidden_dims=(16, 16),
  exploration_std=1.0,
  beta=1.3e-4,
  batch_size=16,
  cycles_per_dispatch=1,
)
_TWICE = dataclasses.replace(_CONFIG, cycles_per_dispatch=2)
_OTHER = {
  'beta': 0.1,
  'reference_dropout': 0.1,
  'batch_size': 8,
  'critic_updates_per_actor': 1,
  'cycles_per_dispatch': 2,
  'actor_lr': 1e-3,
  'critic_lr': 1e-3,
  'tau': 0.5,
  'target_clip': None,
  'hidden_dims': (16,),
  'num_critics': 3,
  'exploration_std': 0.1,
  'exploration_noise': 'per_step',
  'reference_input': False,
  'layer_norm': False,
  'frozen_action_dims': (0,),
}


def _nets(config=_CONFIG, **changes) -> rlt.Networks:
  config = dataclasses.replace(config, **changes)
  return rlt.make_networks(config, _Z, _P, _C, _A)


def _jit(nets, sample):
  return jax.jit(functools.partial(rlt.update, nets, sample), donate_argnums=0)


def _bandit(key):
  """One-chunk episodes: the reward is high where the chunk's mean is z[0]."""
  keys = jax.random.split(key, 4)
  z_rl = 0.5 * jax.random.normal(keys[0], (_ROWS, _Z))
  reference = 0.1 * jax.random.normal(keys[1], (_ROWS, _C, _A))
  tried = reference + jax.random.normal(keys[2], (_ROWS, 1, _A))
  reward = jnp.exp(-((tried.mean(axis=(1, 2)) - z_rl[:, 0]) ** 2))
  spec = replay.transition_spec(_Z, _P, _C, _A)
  rows = jax.tree.map(lambda x: jnp.zeros((_ROWS, *x.shape), x.dtype), spec)
  return rows._replace(
    z_rl=z_rl,
    ref_chunk=reference,
    action_chunk=tried,
    reward=reward,
    next_z_rl=z_rl[::-1],
    next_ref_chunk=reference[::-1],
  )


@functools.cache
def _rows(discount: float = 0.9):
  return _bandit(jax.random.key(7))._replace(
    discount=jnp.full((_ROWS,), discount)
  )


def _filled(rows, batch_size=_CONFIG.batch_size):
  ring = replay.make_ring(_ROWS, batch_size)
  spec = replay.transition_spec(_Z, _P, _C, _A)
  return ring, ring.add(ring.init(spec), rows, jnp.ones(_ROWS, bool))


def _run(nets=None, rows=None, seed=0, jit=False):
  nets = _nets() if nets is None else nets
  rows = _rows() if rows is None else rows
  ring, stored = _filled(rows, nets.config.batch_size)
  state = rlt.init(jax.random.key(seed), nets)
  # Op by op, as compiling once per config would take minutes.
  with jax.disable_jit(not jit):
    return _jit(nets, ring.sample)(state, stored)


@functools.cache
def _plain():
  return _run()


@functools.cache
def _twice():
  return _run(_nets(_TWICE))


def _differs(tree, other) -> bool:
  def same(x, y):
    return x.shape == y.shape and np.allclose(x, y, rtol=1e-6)

  tree, other = jax.tree.leaves(tree), jax.tree.leaves(other)
  return len(tree) != len(other) or not all(map(same, tree, other))


def _params(state):
  return state.actor_params, state.critic_params, state.target_critic_params


@pytest.mark.parametrize(
  'field', [field.name for field in dataclasses.fields(RltConfig)]
)
def test_every_field_changes_the_update(field):
  other, _ = _run(_nets(**{field: _OTHER[field]}))
  assert _differs(_params(_plain()[0]), _params(other))


def test_same_seed_same_result_other_seed_other_result():
  again, _ = _run()
  chex.assert_trees_all_equal(_params(_plain()[0]), _params(again))
  other, _ = _run(seed=1)
  assert _differs(_params(_plain()[0]), _params(other))


def test_counters_metrics_and_key():
  state, metrics = _twice()
  assert (int(state.actor_updates), int(state.critic_updates)) == (2, 4)
  fresh = rlt.init(jax.random.key(0), _nets())
  assert jax.random.key_data(state.key).tolist() != (
    jax.random.key_data(fresh.key).tolist()
  )
  for value in metrics.values():
    assert value.shape == () and value.dtype == jnp.float32
  assert float(metrics['finite']) == 1.0
  np.testing.assert_allclose(
    metrics['beta_term'], 1.3e-4 * metrics['reference_distance'], rtol=1e-5
  )


def test_one_eager_call_of_two_cycles_equals_two_jitted_calls_of_one():
  nets = _nets()
  ring, stored = _filled(_rows())
  state = rlt.init(jax.random.key(0), nets)
  one = _jit(nets, ring.sample)
  state, _ = one(state, stored)
  state, _ = one(state, stored)
  assert one._cache_size() == 1
  chex.assert_trees_all_close(
    _params(_twice()[0]), _params(state), rtol=1e-4, atol=1e-5
  )


def test_a_non_finite_row_shows():
  rows = _rows()
  bad = rows._replace(reward=rows.reward.at[:].set(jnp.nan))
  nets = _nets(target_clip=None)
  assert float(_run(nets, rows=bad)[1]['finite']) == 0.0


def test_terminal_rows_ignore_the_successor_and_time_limits_do_not():
  def learned(discount, shift):
    rows = _rows(discount)
    rows = rows._replace(next_z_rl=rows.next_z_rl + shift)
    return _run(rows=rows)[0].critic_params

  chex.assert_trees_all_equal(learned(0.0, 0.0), learned(0.0, 1.0))
  assert _differs(learned(0.9, 0.0), learned(0.9, 1.0))


def _record(nets, calls):
  """Networks that note the reference input of every actor call."""

  def actor(params, z_rl, proprio, ref_chunk):
    calls.append(np.asarray(jax.lax.stop_gradient(ref_chunk)))
    return nets.actor(params, z_rl, proprio, ref_chunk)

  return dataclasses.replace(nets, actor=actor)


def test_dropout_hides_whole_references_from_the_actor_loss_only():
  calls, rows = [], _rows()
  nets = _record(_nets(batch_size=_ROWS, critic_updates_per_actor=1), calls)
  state = rlt.init(jax.random.key(0), nets)
  with jax.disable_jit():
    # No vmap: it would hide the numbers from the host.
    rlt.update(nets, lambda *_: rows, state, None)
  target_input, actor_input = calls
  np.testing.assert_array_equal(target_input, rows.next_ref_chunk)
  hidden = np.all(actor_input == 0.0, axis=(1, 2))
  assert 0.4 < hidden.mean() < 0.6
  np.testing.assert_array_equal(
    actor_input[~hidden], np.asarray(rows.ref_chunk)[~hidden]
  )


def test_beta_compares_with_the_complete_reference():
  nets = _nets(exploration_std=0.0, beta=1.0, reference_dropout=0.999)
  key = jax.random.key(0)
  rows = _rows()._replace(ref_chunk=jnp.full((_ROWS, _C, _A), 10.0))
  state = rlt.init(key, nets)
  _, metrics = fused_update.actor_step(nets, state, rows, key)
  # The actor sees zeros and stays near 0, so about C * A * 10**2 = 800 is
  # left; compared with the zeros it saw it would be about 0.
  np.testing.assert_allclose(metrics['actor_loss'], 800.0, atol=100.0)


def test_a_batch_of_another_size_is_refused():
  ring, stored = _filled(_rows())
  nets = _nets(batch_size=8)
  state = rlt.init(jax.random.key(0), nets)
  with pytest.raises(ValueError, match='draw batch_size = 8 rows'):
    _jit(nets, ring.sample)(state, stored)


def test_learns_the_bandit_and_a_large_beta_keeps_the_reference():
  rows = _rows(0.0)

  def miss(beta):
    nets = _nets(
      hidden_dims=(32, 32),
      batch_size=64,
      beta=beta,
      cycles_per_dispatch=1200,
      actor_lr=2e-3,
      critic_lr=2e-3,
    )
    state, _ = _run(nets, rows, jit=True)
    mean = nets.actor(
      state.actor_params, rows.z_rl, rows.proprio, rows.ref_chunk
    )
    wanted = float(jnp.mean(jnp.abs(mean.mean(axis=(1, 2)) - rows.z_rl[:, 0])))
    imitated = float(jnp.mean(jnp.abs(mean - rows.ref_chunk)))
    return wanted, imitated

  wanted, _ = miss(1e-3)
  assert wanted < 0.2  # The reference itself misses by 0.4.
  wanted, imitated = miss(10.0)
  assert imitated < 0.1 and wanted > 0.3


def test_frozen_entries_are_no_distance_from_the_reference():
  nets = _nets(frozen_action_dims=(0,), reference_dropout=0.0)
  rows = _rows()
  loud = rows._replace(ref_chunk=rows.ref_chunk.at[..., 0].add(100.0))
  mute = dataclasses.replace(
    nets, actor=lambda p, z, x, ref: jnp.zeros_like(ref)
  )
  plain, moved = (_run(mute, r)[1] for r in (rows, loud))
  np.testing.assert_allclose(
    moved['reference_distance'], plain['reference_distance'], rtol=1e-6
  )
  config = dataclasses.replace(nets.config, frozen_action_dims=())
  other = _run(dataclasses.replace(mute, config=config), loud)[1]
  assert other['reference_distance'] > 1e4 * _C
