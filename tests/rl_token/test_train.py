import dataclasses
import functools
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import signals
from rlt_jax import sitting as sitting_lib
from rlt_jax.rl_token import objective, stats, train
from rlt_jax.rl_token.config import StepConfig, TokenConfig
from rlt_jax.vlas.vla import VlaHooks
from tests.giving_up import given_up

_CONFIG = TokenConfig(
  token_dim=4,
  num_image_tokens=3,
  width=8,
  num_layers=1,
  num_heads=2,
  mlp_ratio=1,
  batch_size=4,
  steps=3,
  warmup_steps=1,
)
_JOINT = dataclasses.replace(_CONFIG, alpha=0.5)
_MASK = np.ones((4, 3), bool)


def _images(frames=12):
  return np.random.default_rng(0).normal(size=(frames, 5)).astype(np.float32)


def _tokens(vla_params, images):
  return jnp.tanh(images @ vla_params['weight']).reshape(-1, 3, 4)


def _vla_loss(vla_params, images, key):
  noise = jax.random.normal(key, (12,))
  return jnp.square(images @ vla_params['weight'] - noise).mean()


def _vla():
  weight = jax.random.normal(jax.random.key(7), (5, 12))
  return VlaHooks({'weight': weight}, _tokens, _vla_loss)


def _joint_state(config):
  vla = _vla()
  tokens = np.asarray(_tokens(vla.params, _images()))
  measured = stats.measure_tokens(tokens, np.ones((12, 3), bool))
  state = train.init_state(jax.random.key(0), measured, config=config, vla=vla)
  return state, vla


@functools.cache
def _grads(config):
  state, vla = _joint_state(config)
  grad = jax.grad(
    lambda params, vla_params: objective.objective(
      params,
      vla_params,
      state.stats,
      objective.Batch(_images(4), _MASK),
      jax.random.key(1),
      config=config,
      vla=vla,
    )[0],
    argnums=(0, 1),
  )
  return jax.jit(grad)(state.params, state.vla_params)


def test_reconstruction_never_reaches_the_vla():
  to_token, to_vla = _grads(_CONFIG)  # alpha 0: L_ro is all there is.
  np.testing.assert_array_equal(to_vla['weight'], np.zeros((5, 12)))
  assert max(np.abs(x).max() for x in jax.tree.leaves(to_token)) > 1e-3


def test_vla_gradient_is_alpha_times_its_own_loss():
  to_token, to_vla = _grads(_JOINT)
  _, vla_key = jax.random.split(jax.random.key(1))
  own = jax.grad(_vla_loss)(_vla().params, _images(4), vla_key)
  np.testing.assert_allclose(
    to_vla['weight'], 0.5 * own['weight'], rtol=1e-5, atol=1e-7
  )
  chex.assert_trees_all_close(to_token, _grads(_CONFIG)[0], rtol=1e-6)


def test_joint_training_moves_the_vla_down_its_loss():
  config = dataclasses.replace(_JOINT, vla_learning_rate=1e-2, steps=30)
  vla = _vla()
  before = np.array(vla.params['weight'])
  out = train.train_token(jax.random.key(0), _images(), config, vla=vla)
  assert np.abs(out.vla_params['weight'] - before).max() > 1e-3
  np.testing.assert_array_equal(vla.params['weight'], before)
  key = jax.random.key(9)
  assert _vla_loss(out.vla_params, _images(), key) < _vla_loss(
    vla.params, _images(), key
  )


def test_one_step_at_alpha_zero_has_no_vla():
  tokens = np.asarray(_tokens(_vla().params, _images()))
  out = train.train_token(jax.random.key(0), tokens, _CONFIG)
  assert out.vla_params is None
  assert [row['step'] for row in out.history] == [0, 2]


def test_loss_is_the_masked_mean_over_positions():
  state, _ = _joint_state(_CONFIG)
  images = _images(4)
  tokens = np.array(_tokens(_vla().params, images))
  mask = _MASK.copy()
  mask[:, 2] = False
  zeros = jax.tree.map(jnp.zeros_like, state.params)

  @jax.jit
  def loss(tokens):
    return objective.objective(
      zeros,
      None,
      state.stats,
      objective.Batch(tokens, mask),
      jax.random.key(0),
      config=_CONFIG,
      vla=None,
    )

  value, metrics = loss(tokens)
  seen = np.asarray(stats.standardize(state.stats, tokens, _MASK))[:, :2]
  # Zero weights predict zero, the positions' training mean.
  np.testing.assert_allclose(value, np.square(seen).sum() / 8, rtol=1e-5)
  np.testing.assert_allclose(metrics['fve'], 0.0, atol=1e-6)
  tokens[:, 2] = np.nan
  again, _ = loss(tokens)
  np.testing.assert_array_equal(again, value)


def test_the_step_compiles_once():
  state, _ = _joint_state(_CONFIG)
  state = state.replace(vla_params=None, vla_opt_state=None)
  tokens = np.asarray(_tokens(_vla().params, _images(4)))

  @jax.jit
  @chex.assert_max_traces(n=1)
  def step(state, batch, key):
    return train.train_step(state, batch, key, config=_CONFIG)

  for i in range(3):
    state, metrics = step(
      state, objective.Batch(tokens, _MASK), jax.random.key(i)
    )
  assert np.isfinite(metrics['reconstruction_loss'])


@pytest.mark.parametrize(
  'step', [StepConfig(accumulate=2), StepConfig(accumulate=4, remat=True)]
)
def test_parts_of_a_batch_add_up_to_the_whole(step):
  state, _ = _joint_state(_CONFIG)
  state = state.replace(vla_params=None, vla_opt_state=None)
  tokens = np.array(_tokens(_vla().params, _images(8)))
  mask = np.ones((8, 3), bool)
  mask[:3, 2] = mask[5, 1:] = False  # the parts see unlike numbers of tokens
  take = functools.partial(train.train_step, config=_CONFIG)
  batch, key = objective.Batch(tokens, mask), jax.random.key(1)
  state_1, metrics_1 = jax.jit(take)(state, batch, key)
  state_2, metrics_2 = jax.jit(functools.partial(take, step=step))(
    state, batch, key
  )
  chex.assert_trees_all_close(metrics_2, metrics_1, rtol=1e-5)
  # Adam's second moment is the gradient squared, before any sign is taken.
  chex.assert_trees_all_close(
    state_2.opt_state, state_1.opt_state, rtol=1e-4, atol=1e-7
  )


def test_a_token_of_full_size_is_traced():
  config = TokenConfig(token_dim=2048, num_image_tokens=768, num_heads=16)
  shape = jax.ShapeDtypeStruct
  stats = {
    'token_mean': shape((768, 2048), 'f4'),
    'token_std': shape((2048,), 'f4'),
  }
  key = jax.eval_shape(lambda: jax.random.key(0))
  init = functools.partial(train.init_state, config=config)
  state = jax.eval_shape(init, key, stats)
  batch = objective.Batch(
    shape((32, 768, 2048), 'bfloat16'), shape((32, 768), bool)
  )
  step = functools.partial(
    train.train_step, config=config, step=StepConfig(accumulate=4, remat=True)
  )
  after, metrics = jax.eval_shape(step, state, batch, key)
  chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
  assert set(metrics) == {'reconstruction_loss', 'fve', 'grad_norm'}
  sizes = [x.size for x in jax.tree.leaves(state.params)]
  assert 140e6 < sum(sizes) < 160e6
  z_rl = jax.eval_shape(
    functools.partial(objective.encode, config=config),
    state.params,
    *batch,
  )
  assert z_rl.shape == (32, 2048)


@pytest.mark.parametrize(
  'field, value',
  [('width', 12), ('num_layers', 2), ('num_heads', 4), ('mlp_ratio', 2)],
)
def test_every_size_changes_the_weights(field, value):
  def shapes(config):
    measured = {'token_mean': jnp.zeros((3, 4)), 'token_std': jnp.ones(4)}
    init = functools.partial(train.init_state, config=config)
    params = jax.eval_shape(init, jax.random.key(0), measured).params
    return jax.tree.map(lambda x: x.shape, params)

  other = shapes(dataclasses.replace(_CONFIG, **{field: value}))
  base = shapes(_CONFIG)
  for part in ('encoder', 'decoder'):
    assert other[part] != base[part]


@functools.cache
def _run(config):
  tokens = np.asarray(_tokens(_vla().params, _images()))
  params = train.train_token(jax.random.key(0), tokens, config).params
  return {'encoder': params['encoder'], 'decoder': params['decoder']}


@pytest.mark.parametrize(
  'field, value',
  [('weight_decay', 20.0), ('clip_norm', 1e-9), ('warmup_steps', 0)],
)
def test_optimizer_knobs_change_the_token(field, value):
  config = dataclasses.replace(_CONFIG, **{field: value})
  with pytest.raises(AssertionError):
    chex.assert_trees_all_close(_run(_CONFIG), _run(config), atol=1e-4)


def test_misfits_are_refused():
  tokens = np.asarray(_tokens(_vla().params, _images()))
  run = functools.partial(train.train_token, jax.random.key(0))
  with pytest.raises(ValueError, match='if and only if alpha > 0'):
    run(_images(), _JOINT)
  with pytest.raises(ValueError, match='if and only if alpha > 0'):
    run(_images(), _CONFIG, vla=_vla())
  with pytest.raises(ValueError, match='Tokens must be'):
    run(tokens[:, :2], _CONFIG)
  with pytest.raises(ValueError, match='mask must be'):
    run(tokens, _CONFIG, mask=np.ones((12, 2), bool))


class StoppedError(Exception):
  """Stands for a kill."""


class MemorySitting(sitting_lib.Sitting):
  """Keeps the last state of some steps, and is killed after one."""

  def __init__(self, kept_steps, last_step):
    self._kept_steps, self._last_step = kept_steps, last_step
    self._saved = None

  def restore(self, state, settings):
    return self._saved if self.resumed else state

  def save(self, step, state):
    if step in self._kept_steps:
      self._saved = jax.tree.map(lambda x: np.array(x).copy(), state)
      self._saved['step'], self.settings = step, {'a': 1}

  def show(self, text):
    if text.startswith(f'step {self._last_step} '):
      self._last_step = None
      raise StoppedError


@pytest.mark.parametrize('config', [_CONFIG, _JOINT], ids=['alone', 'joint'])
def test_a_killed_training_ends_as_an_unbroken_one(config, monkeypatch):
  monkeypatch.setattr(train, '_SAVE_EVERY_S', 1e-9)
  vla = _vla() if config.alpha else None
  source = _images() if vla else np.asarray(_tokens(_vla().params, _images()))
  key = jax.random.key(0)
  whole = train.train_token(key, source, config, vla=vla)
  sitting = MemorySitting((0, 1), last_step=2)
  with pytest.raises(StoppedError):
    train.train_token(key, source, config, vla=vla, sitting=sitting)
  resumed = train.train_token(key, source, config, vla=vla, sitting=sitting)
  chex.assert_trees_all_equal(resumed[:2], whole[:2])
  assert resumed.history == [whole.history[-1]]


def test_a_signal_saves_the_step_in_hand_and_ends_the_training():
  tokens = np.asarray(_tokens(_vla().params, _images()))
  key, sitting = jax.random.key(0), MemorySitting(range(9), last_step=None)
  show, shown = sitting.show, []

  def show_and_stop(text):
    shown.append(text.partition(' of ')[0])
    if shown == ['step 1', 'step 2']:
      signal.raise_signal(signal.SIGTERM)
    show(text)

  sitting.show = show_and_stop
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    train.train_token(key, tokens, _CONFIG, sitting=sitting)
  # The state of the step that the signal came in, and no step after it.
  assert sitting._saved['step'] == 2 and shown == ['step 1', 'step 2']
  resumed = train.train_token(key, tokens, _CONFIG, sitting=sitting)
  whole = train.train_token(key, tokens, _CONFIG)
  chex.assert_trees_all_equal(resumed[:2], whole[:2])


def test_a_training_that_diverges_ends_at_once(monkeypatch):
  tokens = np.asarray(_tokens(_vla().params, _images()))
  bad = {'reconstruction_loss': jnp.float32(jnp.nan)}
  monkeypatch.setattr(train, 'train_step', lambda state, *_, **__: (state, bad))
  with pytest.raises(FloatingPointError, match='must stay finite.*step 0'):
    train.train_token(jax.random.key(0), tokens, _CONFIG)


@pytest.mark.parametrize('name', ['measure_tokens', 'init_state', '_finish'])
def test_what_compiles_around_the_steps_is_given_up(monkeypatch, name):
  tokens = np.asarray(_tokens(_vla().params, _images()))
  sitting = MemorySitting(range(9), last_step=None)
  with given_up() as compiling:
    monkeypatch.setattr(train, name, compiling)
    train.train_token(jax.random.key(0), tokens, _CONFIG, sitting=sitting)
  # Only the end has something to go on from.
  assert sitting.resumed == (name == '_finish')
