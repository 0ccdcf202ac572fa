"""The encoder on plain arrays gives what the Flax encoder gives."""

import pathlib

import jax
import numpy as np
import pytest

import rlt_jax
from rlt_jax import files
from rlt_jax.rl_token import plain_encoder, rl_token, token_record
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.train import init_state

_SHIPPED = pathlib.Path(rlt_jax.__file__).parent / 'rl_token/assets/ethernet'


@pytest.fixture(scope='module')
def shipped():
  record = files.read_json(_SHIPPED / 'token.json')
  vla = record['spec']['vla_fingerprint']
  return (
    rl_token.load(_SHIPPED, vla_fingerprint=vla),
    token_record.read(_SHIPPED, vla_fingerprint=vla),
  )


def _inputs(token, rows, extra=0):
  """Tokens of the size that the token's statistics expect."""
  rng = np.random.default_rng(0)
  stats = token.params['stats']
  tokens = np.asarray(stats['token_mean']) + np.asarray(
    stats['token_std']
  ) * rng.normal(size=(rows, *stats['token_mean'].shape))
  more = rng.normal(size=(rows, extra, tokens.shape[2]))
  tokens = np.concatenate([tokens, more], axis=1).astype(np.float32)
  return tokens, rng.random(tokens.shape[:2]) < 0.7


def test_numpy_equals_jax_on_the_shipped_token(shipped):
  token, record = shipped
  assert record.spec == token.spec
  tokens, mask = _inputs(token, 5, extra=3)
  mask[0] = False  # all padding
  mask[1] = True
  tokens[~mask] = np.nan  # padding may hold anything
  encode = plain_encoder.make(record)
  found = encode(tokens, mask)
  expected = token.apply(token.params, tokens, mask)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert np.ptp(found, axis=0).max() > 0.1


def test_float16_tokens_are_computed_in_float32(shipped):
  token, record = shipped
  tokens, mask = _inputs(token, 2)
  half = tokens.astype(np.float16)
  found = plain_encoder.make(record)(half, mask)
  expected = token.apply(token.params, half.astype(np.float32), mask)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_sizes_are_equal_too():
  config = TokenConfig(
    token_dim=6,
    num_image_tokens=4,
    width=8,
    num_layers=3,
    num_heads=2,
    mlp_ratio=3,
  )
  rng = np.random.default_rng(1)
  stats = {
    'token_mean': rng.normal(size=(4, 6)).astype(np.float32),
    'token_std': np.full(6, 2.0, np.float32),
    'z_mean': rng.normal(size=8).astype(np.float32),
    'z_std': np.full(8, 0.5, np.float32),
  }
  params = init_state(jax.random.key(0), stats, config=config).params
  params = jax.tree.map(
    lambda x: np.asarray(x, np.float16).astype(np.float32),
    params | {'stats': stats},
  )
  token = rl_token.make(params, config, 'v')
  flat = rl_token.flatten(params)
  record = token_record.TokenRecord(token.spec, config, flat)
  tokens = rng.normal(size=(3, 5, 6)).astype(np.float32)
  mask = rng.random((3, 5)) < 0.5
  np.testing.assert_allclose(
    plain_encoder.make(record)(tokens, mask),
    token.apply(token.params, tokens, mask),
    atol=1e-5,
  )
  with pytest.raises(ValueError, match=r'must be \[B, N, 6\] with N >= 4'):
    plain_encoder.make(record)(tokens[:, :3], mask[:, :3])


def test_torch_equals_numpy_where_it_is_installed(shipped):
  torch = pytest.importorskip('torch')
  token, record = shipped
  tokens, mask = _inputs(token, 3)
  encode = plain_encoder.make(record, torch, torch.as_tensor)
  found = encode(torch.as_tensor(tokens), torch.as_tensor(mask))
  np.testing.assert_allclose(
    found.numpy(), plain_encoder.make(record)(tokens, mask), atol=1e-5
  )
