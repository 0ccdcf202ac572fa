"""The image tower: patches of a picture to tokens in the prefix's width."""

import jax
import jax.numpy as jnp

from rlt_jax.types import Array, Params
from rlt_jax.vlas.openpi.model_config import TowerConfig

_EPSILON = 1e-6


def embed_images(
  params: Params, images: Array, config: TowerConfig, dtype: str
) -> Array:
  """Maps pictures uint8 or float [B, S, S, 3] of 0 to 255 to [B, tokens, D].

  Args:
    params: 'PaliGemma/img' of the model.
    images: of the tower's image_size.
    config: the sizes.
    dtype: of the activations. Patches and positions are float32 before.
  """
  x = images.astype(jnp.float32) / 255.0 * 2.0 - 1.0
  x = _patches(x, config.patch)
  kernel = params['embedding']['kernel'].astype(jnp.float32)
  x = x @ kernel.reshape(-1, config.width)
  x = x + params['embedding']['bias'] + params['pos_embedding']
  x = x.astype(dtype)

  def block(x, layer):
    mlp, y = layer['MlpBlock_0'], _layer_norm(layer['LayerNorm_0'], x)
    x = x + _attend(layer['MultiHeadDotProductAttention_0'], y)
    y = _dense(mlp['Dense_0'], _layer_norm(layer['LayerNorm_1'], x))
    return x + _dense(mlp['Dense_1'], jax.nn.gelu(y, approximate=True)), None

  transformer = params['Transformer']
  x, _ = jax.lax.scan(block, x, transformer['encoderblock'])
  x = _layer_norm(transformer['encoder_norm'], x)
  return _dense(params['head'], x)


def _patches(x, side):
  """Cuts [B, S, S, 3] into [B, tokens, side * side * 3], row by row."""
  B, size, count = x.shape[0], x.shape[1], x.shape[1] // side
  x = x.reshape(B, count, side, count, side, 3).swapaxes(2, 3)
  return x.reshape(B, count * count, size // count * side * 3)


def _layer_norm(weights, x):
  y = x.astype(jnp.float32)
  y = y - y.mean(-1, keepdims=True)
  y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + _EPSILON)
  return (y * weights['scale'] + weights['bias']).astype(x.dtype)


def _cast(weights, dtype):
  return weights['kernel'].astype(dtype), weights['bias'].astype(dtype)


def _dense(weights, x):
  kernel, bias = _cast(weights, x.dtype)
  return x @ kernel + bias


def _attend(weights, x):
  """Attention of every token to every other of the same picture."""

  def project(name):
    kernel, bias = _cast(weights[name], x.dtype)
    return jnp.einsum('btd,dnh->btnh', x, kernel) + bias

  query, key, value = map(project, ('query', 'key', 'value'))
  scores = jnp.einsum(
    'btnh,bsnh->bnts', query, key, preferred_element_type=jnp.float32
  )
  shares = jax.nn.softmax(scores * query.shape[-1] ** -0.5)
  y = jnp.einsum('bnts,bsnh->btnh', shares.astype(x.dtype), value)
  kernel, bias = _cast(weights['out'], x.dtype)
  return jnp.einsum('btnh,nhd->btd', y, kernel) + bias
