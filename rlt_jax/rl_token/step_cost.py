"""Memory and arithmetic of a step of Stage 1, from shapes alone."""

import collections
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlt_jax.rl_token import objective, train
from rlt_jax.rl_token.config import StepConfig, TokenConfig
from rlt_jax.rl_token.layers import Block
from rlt_jax.vlas.openpi.cost import count_flop


class StepCost(NamedTuple):
  """Of one step with alpha 0; bytes of a device, FLOP of the whole batch.

  parameters: number, of encoder and decoder. state_bytes: of them and of
  Adam's two moments. gradient_bytes: of the gradients, twice with parts, which
  are summed. token_bytes: of the batch as the VLA gives it. kept_bytes: what
  the backward pass of a part needs, and with remat of one block more.
  flop: a multiply-add counts as two.
  """

  parameters: int
  state_bytes: int
  gradient_bytes: int
  token_bytes: int
  kept_bytes: int
  flop: float


def measure(
  config: TokenConfig, step: StepConfig, *, devices: int = 1
) -> StepCost:
  """Traces a step; nothing is computed.

  Args:
    config: of the token.
    step: how a step is computed.
    devices: that share the batch.
  """
  N, D, B = config.num_image_tokens, config.token_dim, config.batch_size
  shape = jax.ShapeDtypeStruct
  stats = {
    'token_mean': shape((N, D), jnp.float32),
    'token_std': shape((D,), jnp.float32),
  }
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(
    functools.partial(train.init_state, config=config), key, stats
  )

  def make_batch(rows):
    tokens = shape((rows, N, D), jnp.bfloat16)
    return objective.Batch(tokens, shape((rows, N), jnp.bool_))

  run = functools.partial(train.train_step, config=config, step=step)
  part = make_batch(B // (step.accumulate * devices))
  kept = _kept(state.params, stats, part, key, config, step)
  params = _bytes(state.params)
  return StepCost(
    parameters=sum(x.size for x in jax.tree.leaves(state.params)),
    state_bytes=params + _bytes(state.opt_state),
    gradient_bytes=params * (2 if step.accumulate > 1 else 1),
    token_bytes=_bytes(make_batch(B // devices)),
    kept_bytes=kept,
    flop=count_flop(run, state, make_batch(B), key),
  )


def _kept(params, stats, batch, key, config, step) -> int:
  """Returns bytes of what the backward pass of a part needs, beside weights."""

  def loss(params, stats, batch, key):
    return objective.objective(
      params,
      None,
      stats,
      batch,
      key,
      config=config,
      vla=None,
      remat=step.remat,
    )[0]

  kept = _residuals(loss, params, stats, batch, key)
  if not step.remat:
    return kept
  block = Block(config.num_heads, config.mlp_ratio)
  rows, slots = batch.mask.shape
  shape = jax.ShapeDtypeStruct
  x = shape((rows, slots + 1, config.z_dim), jnp.float32)
  visible = shape((rows, 1, slots + 1), jnp.bool_)
  weights = jax.eval_shape(block.init, key, x, visible)
  return kept + _residuals(block.apply, weights, x, visible)


def _residuals(function, weights, *args) -> int:
  """Returns bytes of what a backward pass needs, without the weights."""

  def forward(weights, *args):
    return jax.vjp(lambda weights: function(weights, *args), weights)[1]

  def kind(x):
    return x.shape, x.dtype

  kept = jax.tree.leaves(jax.eval_shape(forward, weights, *args))
  own = collections.Counter(map(kind, jax.tree.leaves(weights)))
  rest = collections.Counter(map(kind, kept)) - own
  return sum(
    math.prod(shape) * dtype.itemsize * count
    for (shape, dtype), count in rest.items()
  )


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
