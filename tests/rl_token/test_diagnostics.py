import functools

import jax
import numpy as np
import pytest

from rlt_jax.rl_token import diagnostics, features, train
from rlt_jax.rl_token.config import TokenConfig


def _redundant(seed, frames):
  """Every one of 8 tokens shows the same hidden pair, with a little noise."""
  maps = np.random.default_rng(0).normal(size=(2, 8, 8)) / np.sqrt(2)
  rng = np.random.default_rng(seed)
  hidden = rng.normal(size=(frames, 2))
  tokens = np.einsum('fk,knd->fnd', hidden, maps)
  tokens += 0.1 * rng.normal(size=tokens.shape)
  return tokens.astype(np.float32), hidden


@functools.cache
def _trained(context_dropout):
  config = TokenConfig(
    token_dim=8,
    num_image_tokens=8,
    width=32,
    num_layers=1,
    num_heads=2,
    steps=400,
    warmup_steps=20,
    learning_rate=3e-3,
    context_dropout=context_dropout,
  )
  tokens, _ = _redundant(1, 2048)
  return train.train_token(jax.random.key(0), tokens, config).params, config


def _diagnosed(context_dropout):
  params, config = _trained(context_dropout)
  tokens, _ = _redundant(2, 200)  # Not a multiple of the batch.
  return diagnostics.diagnose(params, tokens, config, jax.random.key(3))


def test_the_token_itself_carries_the_embeddings():
  result = _diagnosed(0.9)
  assert result['fve_real_no_context'] > 0.7
  assert result['first_position_fve'] > 0.7
  for suffix in ('', '_no_context'):
    real = result[f'fve_real{suffix}']
    assert real > result[f'fve_shuffled{suffix}'] + 0.2
    assert real > result[f'fve_zero{suffix}'] + 0.2


def test_without_context_dropout_the_token_is_left_out():
  """Without context, all that is explained comes from the token."""

  def gap(result):
    return result['fve_real_no_context'] - result['fve_shuffled_no_context']

  leaky, closed = _diagnosed(0.0), _diagnosed(0.9)
  # With its context the leaky decoder looks better, which is the trap.
  assert leaky['fve_real'] > 0.7
  assert leaky['fve_real_no_context'] < 0.5
  assert gap(leaky) < 0.5 * gap(closed)


def test_a_task_is_measured_around_its_own_mean():
  """However far the tasks are apart, and whatever the statistics are."""
  params, config = _trained(0.9)
  tokens, _ = _redundant(2, 200)
  found = diagnostics.explained(params, tokens, config, jax.random.key(3))
  assert set(found) == {'fve_real', 'fve_shuffled', 'fve_zero'}
  assert found['fve_real'] > 0.7 > 0.0 > found['fve_shuffled']
  assert found['fve_real'] > found['fve_zero'] + 0.2
  # The same embeddings far away, with statistics that follow them.
  stats = dict(params['stats'])
  stats['token_mean'] = stats['token_mean'] + 40.0
  moved = params | {'stats': stats}
  far = diagnostics.explained(moved, tokens + 40.0, config, jax.random.key(3))
  assert far['fve_real'] == pytest.approx(found['fve_real'], abs=1e-3)
  # A token whose mean is that of other tasks explains less of this one.
  worse = diagnostics.explained(moved, tokens, config, jax.random.key(3))
  assert worse['fve_real'] < 0.0


def test_spread_of_known_tokens():
  # Four equal, opposed pairs on two axes: each unit vector's cosines with the
  # other three are 0, 0 and -1; two equal variances count as rank 2.
  z_rl = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], float) + 5.0
  spread = diagnostics.token_spread(z_rl)
  np.testing.assert_allclose(spread['token_cosine'], -1 / 3, atol=1e-9)
  np.testing.assert_allclose(spread['effective_rank'], 2.0, atol=1e-9)


def test_linear_probe_separates_signal_from_noise():
  rng = np.random.default_rng(0)
  z = rng.normal(size=(600, 4)) * np.array([1.0, 10.0, 0.1, 1.0]) + 3.0
  y = np.stack([2.0 * z[:, 0] - 0.1 * z[:, 1], rng.normal(size=600)], 1)
  out = diagnostics.linear_probe(z[:400], y[:400], z[400:], y[400:], ridge=1e-6)
  assert out['r2'][0] > 0.999 and out['rmse'][0] < 1e-3
  assert out['r2'][1] < 0.05 and 0.8 < out['rmse'][1] < 1.2


def test_trained_token_shows_the_hidden_state_to_a_linear_probe():
  params, config = _trained(0.9)
  tokens, hidden = _redundant(4, 400)
  mask = np.ones(tokens.shape[:2], bool)
  z_rl = features.encode_all(params, tokens, mask, config)
  out = diagnostics.linear_probe(
    z_rl[:300], hidden[:300], z_rl[300:], hidden[300:]
  )
  assert (out['r2'] > 0.8).all()


def test_one_frame_is_refused():
  params, config = _trained(0.9)
  with pytest.raises(ValueError, match='two frames'):
    diagnostics.diagnose(params, _redundant(2, 1)[0], config, jax.random.key(0))
