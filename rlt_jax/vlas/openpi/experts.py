"""Blocks of the two experts, which meet in one attention.

The prefix never sees the suffix. So the prefix runs alone, once, and hands out
its keys and values; the action expert attends over those and its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlt_jax.types import Array, Params

_EPSILON = 1e-6
_HIDDEN = -2.3819763e38  # logit of a key that is not seen; finite in bfloat16
_WAVELENGTH = 10_000.0  # of the slowest rotation of keys and queries


class KeysValues(NamedTuple):
  """Keys, rotated, and values [depth, B, N, kv heads, head_dim]."""

  keys: Array
  values: Array


class Modulation(NamedTuple):
  """What the time makes of π0.5's norms: scale, shift and gate, joined.

  attention, mlp: [b, depth, 3 W] of the blocks' norms; b is B or 1.
  final: [b, 3 W].
  """

  attention: Array
  mlp: Array
  final: Array


class _Block(NamedTuple):
  """Weights of a block; all but the norms' lead with [depth] when stacked."""

  query: Array  # [heads, D, head_dim]
  keys_values: Array  # [2, kv heads, D, head_dim]
  out: Array  # [heads, head_dim, D]
  gate_up: Array  # [2, D, mlp_dim]
  down: Array  # [mlp_dim, D]
  attention_norm: Params  # 'scale', or 'Dense_0' of a modulated norm
  mlp_norm: Params


def stack(llm: Params, suffix: str) -> _Block:
  """Returns the stacked blocks of an expert, '' the prefix, '_1' the other."""
  layers, attention = llm['layers'], llm['layers']['attn']
  return _Block(
    query=attention[f'q_einsum{suffix}']['w'],
    keys_values=attention[f'kv_einsum{suffix}']['w'],
    out=attention[f'attn_vec_einsum{suffix}']['w'],
    gate_up=layers[f'mlp{suffix}']['gating_einsum'],
    down=layers[f'mlp{suffix}']['linear'],
    attention_norm=layers[f'pre_attention_norm{suffix}'],
    mlp_norm=layers[f'pre_ffw_norm{suffix}'],
  )


def modulate(llm: Params, time: Array, dtype: str) -> Modulation:
  """Maps time vectors [b, W] to what they make of every norm of π0.5."""
  time = time.astype(dtype)

  def dense(name, spec):
    kernel, bias = (
      name['Dense_0'][n].astype(dtype) for n in ('kernel', 'bias')
    )
    return jnp.einsum(spec, time, kernel) + bias

  layers = llm['layers']
  return Modulation(
    dense(layers['pre_attention_norm_1'], 'bw,lwo->blo'),
    dense(layers['pre_ffw_norm_1'], 'bw,lwo->blo'),
    dense(llm['final_norm_1'], 'bw,wo->bo'),
  )


def run_prefix(
  llm: Params, x: Array, mask: Array
) -> tuple[Array, Array, KeysValues]:
  """Runs the prefix alone.

  Args:
    llm: 'PaliGemma/llm' of the model.
    x: [B, N, D] images and words.
    mask: bool [B, N], False is padding: no token sees it, and it takes no
      position.

  Returns:
    The embeddings after the final norm and those that enter the last block,
    RMS-normed without weights, both [B, N, D]; and keys and values.
  """
  positions = jnp.cumsum(mask, axis=1) - 1
  visible = mask[:, None]

  def block(carry, weights):
    x, _ = carry
    y, _ = norm(x, weights.attention_norm)
    query, key, value = _project(weights, y, positions)
    after = x + _output(weights, attend(query, key, value, visible))
    y, _ = norm(after, weights.mlp_norm)
    return (after + _mlp(weights, y), x), KeysValues(key, value)

  (x, entered), cache = jax.lax.scan(block, (x, x), stack(llm, ''))
  x, _ = norm(x, llm['final_norm'])
  return x, _rms(entered).astype(x.dtype), cache


def run_suffix(
  llm: Params,
  x: Array,
  modulation: Modulation | None,
  cache: KeysValues,
  mask: Array,
  visible: Array,
) -> Array:
  """Runs the action expert behind a prefix; returns normed [B, n, W].

  Args:
    llm: 'PaliGemma/llm' of the model.
    x: [B, n, W] tokens of the suffix.
    modulation: of the norms, None for π0.
    cache: of `run_prefix`.
    mask: bool [B, N] of the prefix.
    visible: bool [n, n], which tokens of the suffix see which.
  """
  B, n = x.shape[:2]
  positions = mask.sum(1)[:, None] + jnp.arange(n)
  far = jnp.broadcast_to(mask[:, None], (B, n, mask.shape[1]))
  near = jnp.broadcast_to(visible, (B, n, n))
  visible = jnp.concatenate([far, near], axis=2)
  layers = None
  if modulation is not None:
    layers = [x.swapaxes(0, 1) for x in modulation[:2]]  # [depth, b, 3 W]

  def block(x, xs):
    weights, cache, change = xs
    change = change or (None, None)
    y, gate = norm(x, weights.attention_norm, change[0])
    query, key, value = _project(weights, y, positions)
    key = jnp.concatenate([cache.keys, key], axis=1)
    value = jnp.concatenate([cache.values, value], axis=1)
    y = _output(weights, attend(query, key, value, visible))
    x = x + gate * y
    y, gate = norm(x, weights.mlp_norm, change[1])
    return x + gate * _mlp(weights, y), None

  x, _ = jax.lax.scan(block, x, (stack(llm, '_1'), cache, layers))
  final = None if modulation is None else modulation.final
  return norm(x, llm['final_norm_1'], final)[0]


def norm(
  x: Array, weights: Params, modulation: Array | None = None
) -> tuple[Array, Array | float]:
  """Returns the normed x [B, n, W], and the gate of the residual.

  Args:
    x: to norm; statistics are float32.
    weights: 'scale', not read where the time modulates the norm.
    modulation: [b, 3 W] scale, shift and gate, b is B or 1.
  """
  y = _rms(x)
  if modulation is None:
    return (y * (1.0 + weights['scale'])).astype(x.dtype), 1.0
  scale, shift, gate = jnp.split(modulation[:, None], 3, axis=-1)
  return (y * (1.0 + scale) + shift).astype(x.dtype), gate


def attend(query: Array, key: Array, value: Array, visible: Array) -> Array:
  """Attention [B, n, heads, size], with scores and softmax in float32.

  Args:
    query: [B, n, heads, size], scaled.
    key, value: [B, m, kv heads, size]; a head reads the one of its group.
    visible: bool [B, n, m], or [B, 1, m] the same for all.
  """
  B, n, heads, size = query.shape
  query = query.reshape(B, n, key.shape[2], -1, size)
  scores = jnp.einsum(
    'btkgh,bskh->bkgts', query, key, preferred_element_type=jnp.float32
  )
  scores = jnp.where(visible[:, None, None], scores, _HIDDEN)
  shares = jax.nn.softmax(scores).astype(value.dtype)
  y = jnp.einsum('bkgts,bskh->btkgh', shares, value)
  return y.reshape(B, n, heads, size)


def rotate(x: Array, positions: Array) -> Array:
  """Rotates [B, n, heads, size] by positions [B, n], halves against halves."""
  half = x.shape[-1] // 2
  rate = _WAVELENGTH ** -(jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions[..., None, None].astype(jnp.float32) * rate
  sine, cosine = jnp.sin(angle), jnp.cos(angle)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = (first * cosine - second * sine, second * cosine + first * sine)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def _rms(x):
  y = x.astype(jnp.float32)
  return y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + _EPSILON)


def _project(weights, x, positions):
  query = jnp.einsum('btd,ndh->btnh', x, weights.query.astype(x.dtype))
  key, value = jnp.einsum(
    'bsd,ckdh->cbskh', x, weights.keys_values.astype(x.dtype)
  )
  query = rotate(query, positions) * query.shape[-1] ** -0.5
  return query, rotate(key, positions), value


def _output(weights, x):
  return jnp.einsum('btnh,nhd->btd', x, weights.out.astype(x.dtype))


def _mlp(weights, x):
  gate, up = weights.gate_up.astype(x.dtype)
  y = jax.nn.gelu(x @ gate, approximate=True) * (x @ up)
  return y @ weights.down.astype(x.dtype)
