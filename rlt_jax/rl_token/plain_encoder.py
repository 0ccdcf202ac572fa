"""The encoder g_phi on plain arrays, for hosts without JAX.

The same lines run on NumPy and on PyTorch, where a VLA's tokens already are.
They give what `RlToken.apply` gives, within 1e-5.
"""

from collections.abc import Callable
import math
from types import ModuleType
from typing import Any

import numpy as np

from rlt_jax.rl_token.token_record import TokenRecord

_LAYER_NORM_EPS = 1e-6  # Flax's


def make(
  record: TokenRecord,
  xp: ModuleType = np,
  put: Callable[[np.ndarray], Any] = np.asarray,
) -> Callable[[Any, Any], Any]:
  """Returns the function (tokens, mask) -> z_rl of a token.

  tokens are [B, N, D] of any float type with N at least num_image_tokens,
  image tokens first; mask is bool [B, N], False where padding, which may hold
  anything. z_rl is float32 [B, Z], unit scale per entry.

  Args:
    record: of the token.
    xp: `numpy` or `torch`.
    put: turns a NumPy array into one of xp, on the device of the tokens.

  Raises:
    ValueError: the function, for tokens of another shape.
  """
  arrays = {
    name: put(x)
    for name, x in record.arrays.items()
    if not name.startswith('decoder/')
  }
  config, spec = record.config, record.spec
  zero, lowest = put(np.float32(0.0)), put(np.float32(-1e30))

  def encode(tokens, mask):
    count = spec.num_image_tokens
    if (
      len(tokens.shape) != 3
      or tokens.shape[1] < count
      or tokens.shape[2] != spec.token_dim
    ):
      raise ValueError(
        f'tokens must be [B, N, {spec.token_dim}] with N >= {count}: '
        f'{tuple(tokens.shape)}.'
      )
    tokens, seen = tokens[:, :count], mask[:, :count]
    stats, net = _Part(arrays, 'stats'), _Part(arrays, 'encoder')
    x = (tokens - stats['token_mean']) / stats['token_std']
    x = net.dense('in_proj', xp.where(seen[..., None], x, zero))
    query = xp.broadcast_to(net['query'], (len(x), 1, config.z_dim))
    x = xp.concatenate([x, query], axis=1) + net['positions']
    # The query's own slot, the last, is always visible.
    seen = xp.concatenate([seen, xp.ones_like(seen[:, :1])], axis=1)
    bias = xp.where(seen, zero, lowest)[:, None, None]
    for i in range(config.num_layers):
      rows = slice(-1, None) if i == config.num_layers - 1 else slice(None)
      x = _block(xp, net.part(f'block_{i}'), x, bias, rows)
    z_rl = net.norm(xp, 'out_norm', x)[:, -1]
    return (z_rl - stats['z_mean']) / stats['z_std']

  return encode


class _Part:
  """The arrays of one part of a network, by their names in it."""

  def __init__(self, arrays: dict[str, Any], name: str):
    self._arrays, self._name = arrays, name

  def __getitem__(self, name: str) -> Any:
    return self._arrays[f'{self._name}/{name}']

  def part(self, name: str) -> '_Part':
    return _Part(self._arrays, f'{self._name}/{name}')

  def dense(self, name: str, x: Any) -> Any:
    return x @ self[f'{name}/kernel'] + self[f'{name}/bias']

  def norm(self, xp: ModuleType, name: str, x: Any) -> Any:
    x = x - x.mean(axis=-1, keepdims=True)
    variance = (x * x).mean(axis=-1, keepdims=True)
    x = x / xp.sqrt(variance + _LAYER_NORM_EPS)
    return x * self[f'{name}/scale'] + self[f'{name}/bias']


def _block(xp: ModuleType, net: _Part, x: Any, bias: Any, rows: slice) -> Any:
  """One block; `rows` are the slots whose outputs are read."""
  y = net.norm(xp, 'attention_norm', x)
  x = x[:, rows]
  query, key, value = (
    xp.einsum('bnz,zhd->bhnd', inputs, net[f'{name}/kernel'])
    + net[f'{name}/bias'][:, None]
    for name, inputs in (('query', y[:, rows]), ('key', y), ('value', y))
  )
  scores = xp.einsum('bhqd,bhkd->bhqk', query, key)
  scores = scores / math.sqrt(query.shape[-1]) + bias
  weights = xp.exp(scores - xp.amax(scores, axis=-1, keepdims=True))
  weights = weights / weights.sum(axis=-1, keepdims=True)
  y = xp.einsum('bhqk,bhkd->bqhd', weights, value)
  y = xp.einsum('bqhd,hdz->bqz', y, net['attention_out/kernel'])
  x = x + y + net['attention_out/bias']
  y = net.dense('mlp_in', net.norm(xp, 'mlp_norm', x))
  # GELU by its tanh form, as Flax has it.
  y = 0.5 * y * (1.0 + xp.tanh(0.7978845608 * (y + 0.044715 * y * y * y)))
  return x + net.dense('mlp_out', y)
