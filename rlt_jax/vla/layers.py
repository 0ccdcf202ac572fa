"""Blocks of the two experts that meet in one attention.

The prefix never sees the suffix, so each prefix block runs alone and hands out
its keys and values; the expert block of the same layer attends over those and
its own. All heads share one key and value head, which folds the heads into the
query rows: attention is two plain batched products without a transpose.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rlt_jax.types import Array

_HIDDEN = -1e9  # logit of a key that a query must not see


class KeysValues(NamedTuple):
  """Keys and values [B, N, head_dim] of one prefix layer."""

  keys: Array
  values: Array


def _attend(query, parts):
  """Attends jointly over several sets of keys, without joining them.

  Args:
    query: [..., rows, head_dim].
    parts: (keys, values, bias) each; bias broadcasts to [..., rows, keys].
  """
  query = query * query.shape[-1] ** -0.5
  logits = [
    jnp.einsum('...md,...nd->...mn', query, k) + bias for k, _, bias in parts
  ]
  top = jnp.stack([x.max(-1) for x in logits]).max(0)
  top = jax.lax.stop_gradient(top)[..., None]
  weights = [jnp.exp(x - top) for x in logits]
  total = sum(x.sum(-1, keepdims=True) for x in weights)
  mixed = sum(
    jnp.einsum('...mn,...nd->...md', w, v)
    for w, (_, v, _) in zip(weights, parts, strict=True)
  )
  return mixed / total


def rms(x: Array) -> Array:
  """Returns x [..., width] scaled to unit mean square."""
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)


class RmsNorm(nn.Module):
  """RMS norm with a learned scale around one."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., width] to the same."""
    scale = self.param('scale', nn.initializers.zeros, (x.shape[-1],))
    return rms(x) * (1.0 + scale)


class GatedMlp(nn.Module):
  """GeGLU: gelu(gate) * value, then back to the width."""

  hidden: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., width] to the same."""
    width = x.shape[-1]
    both = nn.Dense(2 * self.hidden, use_bias=False, name='gate_value')(x)
    gate, value = jnp.split(both, 2, axis=-1)
    return nn.Dense(width, use_bias=False, name='out')(nn.gelu(gate) * value)


class Projections(nn.Module):
  """Queries for all heads, and the one key and value head."""

  num_heads: int
  head_dim: int

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array, Array]:
    """Maps [..., width] to query [..., heads * head_dim], key and value."""
    size = self.num_heads * self.head_dim
    query = nn.Dense(size, use_bias=False, name='query')(x)
    key = nn.Dense(self.head_dim, use_bias=False, name='key')(x)
    value = nn.Dense(self.head_dim, use_bias=False, name='value')(x)
    return query, key, value


class PrefixBlock(nn.Module):
  """One layer of the prefix: bidirectional attention and a gated MLP."""

  num_heads: int
  head_dim: int
  mlp_ratio: int

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> tuple[Array, KeysValues]:
    """Maps [B, N, D], bool [B, N] (False is padding) to the same and K/V."""
    B, N, D = x.shape
    y = RmsNorm(name='attention_norm')(x)
    query, key, value = Projections(
      self.num_heads, self.head_dim, name='attention'
    )(y)
    rows = query.reshape(B, N * self.num_heads, self.head_dim)
    y = _attend(rows, [(key, value, hide(mask)[:, None])])
    y = nn.Dense(D, use_bias=False, name='out')(y.reshape(B, N, -1))
    x = x + y
    y = RmsNorm(name='mlp_norm')(x)
    x = x + GatedMlp(self.mlp_ratio * D, name='mlp')(y)
    return x, KeysValues(key, value)


class AdaptiveNorm(nn.Module):
  """RMS norm whose scale, shift and gate come from the flow's time.

  All three start at zero: a block is the identity until it has learned.
  """

  @nn.compact
  def __call__(self, x: Array, cond: Array) -> tuple[Array, Array]:
    """Maps [B, G, n, width] and cond [b, g, width] to normed x and gate."""
    width = x.shape[-1]
    changes = nn.Dense(
      3 * width, kernel_init=nn.initializers.zeros, name='changes'
    )(cond)[..., None, :]
    scale, shift, gate = jnp.split(changes, 3, axis=-1)
    return rms(x) * (1.0 + scale) + shift, gate


class ExpertBlock(nn.Module):
  """One layer of the action expert: attends over the prefix and itself."""

  num_heads: int
  head_dim: int
  mlp_ratio: int

  @nn.compact
  def __call__(
    self, x: Array, cond: Array, cache: KeysValues, mask: Array
  ) -> Array:
    """Maps suffix tokens [B, G, n, width] to the same.

    Args:
      x: G suffixes that share one prefix; the first token is the state.
      cond: [b, g, width], b and g the same as in x or 1.
      cache: of the same layer's prefix block.
      mask: bool [B, N], False is padding of the prefix.
    """
    B, G, n, width = x.shape
    y, gate = AdaptiveNorm(name='attention_norm')(x, cond)
    query, key, value = Projections(
      self.num_heads, self.head_dim, name='attention'
    )(y)
    rows = query.reshape(B, G, n * self.num_heads, self.head_dim)
    prefix = (cache.keys[:, None], cache.values[:, None])
    y = _attend(
      rows,
      [
        (*prefix, hide(mask)[:, None, None]),
        (key, value, self._state_sees_itself(n)),
      ],
    )
    y = nn.Dense(width, use_bias=False, name='out')(y.reshape(B, G, n, -1))
    x = x + gate * y
    y, gate = AdaptiveNorm(name='mlp_norm')(x, cond)
    return x + gate * GatedMlp(self.mlp_ratio * width, name='mlp')(y)

  def _state_sees_itself(self, n):
    row = jnp.arange(n * self.num_heads)[:, None] // self.num_heads
    return hide((row > 0) | (jnp.arange(n)[None] == 0))


def hide(visible: Array) -> Array:
  """Returns a bias for logits: 0 where visible, hugely negative elsewhere."""
  return jnp.where(visible, 0.0, _HIDDEN)
