"""Memory and arithmetic of a query, from shapes alone."""

import math
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp

from rlt_jax.types import Params
from rlt_jax.vlas.openpi import model, tower
from rlt_jax.vlas.openpi.config import OpenpiConfig
from rlt_jax.vlas.openpi.model_config import arrays


class QueryCost(NamedTuple):
  """Of one query; FLOP count a multiply-add as two, bytes are of all rows.

  parameters: their number. weight_bytes: of them, in the served type.
  table_bytes: the part that is the table of words, of which few are read.
  step_bytes: of the weights that one step of the flow reads.
  tower_flop, prefix_flop, flow_flop: of the parts; query_flop: of the whole
    program, which equals their sum if nothing is computed twice.
  cache_bytes: keys and values. token_bytes: what the RL token may read.
  score_bytes: attention scores of one layer of the prefix, the largest of the
    temporary arrays.
  tokens: N of a row. image_tokens: of them, from cameras.
  """

  parameters: int
  weight_bytes: int
  table_bytes: int
  step_bytes: int
  tower_flop: float
  prefix_flop: float
  flow_flop: float
  query_flop: float
  cache_bytes: int
  token_bytes: int
  score_bytes: int
  tokens: int
  image_tokens: int


def measure(config: OpenpiConfig, rows: int = 1) -> QueryCost:
  """Traces a query of a configuration; needs no weights and computes nothing.

  Args:
    config: robot and sizes.
    rows: observations in the query.
  """
  sizes = config.model
  params, inputs, noise = abstract_query(config, rows)

  def run_prefix(params, inputs):
    return model.run_prefix(params, inputs, sizes)

  prefix = jax.eval_shape(run_prefix, params, inputs)
  pictures = jax.ShapeDtypeStruct(
    (rows * len(config.cameras), *inputs.images.shape[2:]), jnp.uint8
  )
  tower_flop = count_flop(
    lambda p, x: tower.embed_images(p, x, sizes.tower, sizes.dtype),
    params['PaliGemma']['img'],
    pictures,
  )
  both = count_flop(run_prefix, params, inputs)
  flow = count_flop(
    lambda p, out, state, x: model.sample(
      p, out, state, x, config=sizes, steps=config.flow_steps
    ),
    params,
    prefix,
    inputs.state,
    noise,
  )
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  expert = [x for name, x in flat.items() if _is_of_flow(name)]
  N = prefix.mask.shape[1]
  return QueryCost(
    parameters=sum(x.size for x in flat.values()),
    weight_bytes=_bytes(params),
    table_bytes=_bytes(params['PaliGemma']['llm']['embedder']),
    step_bytes=_bytes(expert),
    tower_flop=tower_flop,
    prefix_flop=both - tower_flop,
    flow_flop=flow,
    query_flop=count_flop(_query(config), params, inputs, noise),
    cache_bytes=_bytes(prefix.cache),
    token_bytes=_bytes(prefix.tokens),
    score_bytes=4 * rows * sizes.prefix.num_heads * N * N,
    tokens=N,
    image_tokens=len(config.cameras) * sizes.tower.tokens,
  )


def compiled_bytes(config: OpenpiConfig, rows: int = 1) -> int:
  """Compiles a query here and returns XLA's bytes beside weights and inputs."""
  query = jax.jit(_query(config)).lower(*abstract_query(config, rows))
  return query.compile().memory_analysis().temp_size_in_bytes


def abstract_query(
  config: OpenpiConfig, rows: int
) -> tuple[Params, model.ModelInputs, jax.ShapeDtypeStruct]:
  """Returns the shapes of params, inputs and noise."""
  shape, sizes = jax.ShapeDtypeStruct, config.model
  params = flax.traverse_util.unflatten_dict(
    {
      name: shape(spec.shape, sizes.dtype)
      for name, spec in arrays(sizes).items()
    },
    sep='/',
  )
  side, cameras = sizes.tower.image_size, len(config.cameras)
  inputs = model.ModelInputs(
    shape((rows, cameras, side, side, 3), jnp.uint8),
    shape((rows, cameras), bool),
    shape((rows, config.prompt_length), jnp.int32),
    shape((rows, sizes.action_dim), jnp.float32),
  )
  noise = shape((rows, config.horizon, sizes.action_dim), jnp.float32)
  return params, inputs, noise


def count_flop(function: Any, *args: Any) -> float:
  """Returns the FLOP of all matrix products and convolutions of a function.

  Loops count as often as they run.

  Args:
    function: traceable.
    *args: arrays or their shapes.
  """
  return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _query(config):
  def query(params, inputs, noise):
    prefix = model.run_prefix(params, inputs, config.model)
    return prefix.tokens, model.sample(
      params,
      prefix,
      inputs.state,
      noise,
      config=config.model,
      steps=config.flow_steps,
    )

  return query


def _is_of_flow(name):
  """Whether an array is read in every step; norms of the time are not."""
  if not name.startswith('PaliGemma'):
    return not name.startswith('time_mlp')
  return '/llm/' in name and '_1/' in name and 'Dense_0' not in name


def _count(jaxpr):
  total = 0.0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      total += _product_flop(equation)
      continue
    times = equation.params.get('length', 1)
    inner = sum(_count(x) for x in _inner(equation.params.values()))
    total += times * inner
  return total


def _inner(values):
  """Yields the programs within an operation, such as a loop's body."""
  for value in values:
    if isinstance(value, (list, tuple)):
      yield from _inner(value)
    elif hasattr(value, 'eqns'):
      yield value
    elif hasattr(getattr(value, 'jaxpr', None), 'eqns'):
      yield value.jaxpr


def _product_flop(equation):
  (contracted, _), _ = equation.params['dimension_numbers']
  left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
  return 2.0 * math.prod(out) * math.prod(left[i] for i in contracted)


def _bytes(tree):
  return sum(
    x.size * jnp.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree)
  )
