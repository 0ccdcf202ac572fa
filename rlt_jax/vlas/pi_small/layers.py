"""Blocks of the two experts that meet in one attention.

The prefix never sees the suffix, so each prefix block runs alone and hands out
its keys and values; the expert block of the same layer attends over those and
its own. All heads share one key and value head, which folds the heads into the
query rows: attention is two plain batched products without a transpose.
"""

import functools
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def product(spec: str, a: Array, b: Array) -> Array:
  """Returns einsum(spec, a, b) of bfloat16 operands, summed in float32.

  Matrix units take such operands several times faster than float32, on CPUs
  too. The gradient's products are rounded alike.

  Args:
    spec: 'x,y->z' without an ellipsis; each letter is in two terms or three.
    a, b: float32.
  """
  a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
  return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32)


def _product_forward(spec, a, b):
  return product(spec, a, b), (a, b)


def _product_backward(spec, saved, grad):
  a, b = saved
  terms, z = spec.split('->')
  x, y = terms.split(',')
  return product(f'{z},{y}->{x}', grad, b), product(f'{x},{z}->{y}', a, grad)


product.defvjp(_product_forward, _product_backward)


class Linear(nn.Module):
  """A matrix without a bias, applied by `product`."""

  features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., width] to [..., features]."""
    kernel = self.param(
      'kernel', nn.initializers.lecun_normal(), (x.shape[-1], self.features)
    )
    flat = x.reshape(-1, x.shape[-1])
    return product('xi,io->xo', flat, kernel).reshape(*x.shape[:-1], -1)


def _logits(query, key):
  """Scores [b, rows, d] against [b, n, d]; the scale goes with the query."""
  return product('bmd,bnd->bmn', query * query.shape[-1] ** -0.5, key)


def _weigh(weights, value):
  return product('bmn,bnd->bmd', weights, value)


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
    both = Linear(2 * self.hidden, name='gate_value')(x)
    gate, value = jnp.split(both, 2, axis=-1)
    return Linear(width, name='out')(nn.gelu(gate) * value)


class Projections(nn.Module):
  """Queries for all heads, and the one key and value head."""

  num_heads: int
  head_dim: int

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array, Array]:
    """Maps [..., width] to query [..., heads * head_dim], key and value."""
    size = self.num_heads * self.head_dim
    query = Linear(size, name='query')(x)
    key = Linear(self.head_dim, name='key')(x)
    value = Linear(self.head_dim, name='value')(x)
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
    weights = jax.nn.softmax(_logits(rows, key) + hide(mask)[:, None])
    y = _weigh(weights, value)
    y = Linear(D, name='out')(y.reshape(B, N, -1))
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
    y = self._attend(query, key, value, cache, hide(mask))
    y = Linear(width, name='out')(y)
    x = x + gate * y
    y, gate = AdaptiveNorm(name='mlp_norm')(x, cond)
    return x + gate * GatedMlp(self.mlp_ratio * width, name='mlp')(y)

  def _attend(self, query, key, value, cache, bias):
    """Attends over both sets of keys without joining or repeating them."""
    B, G, n, size = query.shape
    rows = query.reshape(B, G * n * self.num_heads, self.head_dim)
    own = (B * G, n * self.num_heads)
    key, value = (x.reshape(B * G, n, -1) for x in (key, value))
    far = _logits(rows, cache.keys) + bias[:, None]  # [B, rows, N]
    near = _logits(rows.reshape(*own, -1), key) + self._state_sees_itself(n)
    near_top = near.max(-1).reshape(rows.shape[:2])
    top = jax.lax.stop_gradient(jnp.maximum(far.max(-1), near_top))[..., None]
    far, near = jnp.exp(far - top), jnp.exp(near - top.reshape(*own, 1))
    total = far.sum(-1) + near.sum(-1).reshape(rows.shape[:2])
    y = _weigh(far, cache.values) + _weigh(near, value).reshape(rows.shape)
    return (y / total[..., None]).reshape(B, G, n, size)

  def _state_sees_itself(self, n):
    row = jnp.arange(n * self.num_heads)[:, None] // self.num_heads
    return hide((row > 0) | (jnp.arange(n)[None] == 0))


def hide(visible: Array) -> Array:
  """Returns a bias for logits: 0 where visible, hugely negative elsewhere."""
  return jnp.where(visible, 0.0, _HIDDEN)
