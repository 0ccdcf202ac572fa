"""The cost of a query in words."""

from collections.abc import Iterator
from typing import NamedTuple

import jax

from rlt_jax.vlas.openpi import cost
from rlt_jax.vlas.openpi.config import OpenpiConfig


class Gpu(NamedTuple):
  """Published peaks: bfloat16 FLOP/s without sparsity, and bytes/s."""

  name: str
  flop: float
  rate: float


GPUS = (
  Gpu('H200', 989e12, 4.8e12),
  Gpu('RTX 4090', 165e12, 1.0e12),
)


def shortest_ms(query: cost.QueryCost, gpu: Gpu, steps: int) -> float:
  """Returns a time that no program can beat, in ms.

  Args:
    query: its cost.
    gpu: where.
    steps: of the flow; each reads the action expert's weights anew.
  """
  once = query.weight_bytes - query.table_bytes - query.step_bytes
  parts = (
    (query.tower_flop + query.prefix_flop, once),
    (query.flow_flop, steps * query.step_bytes),
  )
  return 1e3 * sum(max(f / gpu.flop, b / gpu.rate) for f, b in parts)


def lines(
  config: OpenpiConfig, rows: int, *, compile_it: bool = False
) -> Iterator[str]:
  """Yields the lines of a report on a query of `rows` observations.

  Args:
    config: robot and sizes.
    rows: observations in the query.
    compile_it: whether to add the memory that XLA plans on this machine.
  """
  query = cost.measure(config, rows)
  sizes = config.model
  yield (
    f'{sizes.family}, {query.parameters / 1e6:,.1f} M parameters, '
    f'{sizes.dtype}; {rows} x {query.tokens} tokens of {sizes.prefix.width}, '
    f'{query.image_tokens} of them from {len(config.cameras)} cameras'
  )
  yield f'weights            {_gb(query.weight_bytes)}'
  yield f'  table of words   {_gb(query.table_bytes)}'
  yield f'  read a flow step {_gb(query.step_bytes)}'
  yield f'keys and values    {_gb(query.cache_bytes)}'
  yield f'tokens             {_gb(query.token_bytes)}'
  yield f'attention scores   {_gb(query.score_bytes)} (one layer)'
  for name, flop in (
    ('tower', query.tower_flop),
    ('prefix', query.prefix_flop),
    (f'{config.flow_steps} flow steps', query.flow_flop),
    ('query', query.query_flop),
  ):
    yield f'{name:18s} {flop / 1e12:7.3f} TFLOP'
  for gpu in GPUS:
    time = shortest_ms(query, gpu, config.flow_steps)
    yield f'{gpu.name:18s} {time:7.1f} ms at least (arithmetic, not measured)'
  if compile_it:
    temporary = cost.compiled_bytes(config, rows)
    yield f"XLA's temporaries  {_gb(temporary)} on {jax.default_backend()}"


def _gb(count):
  return f'{count / 1e9:7.3f} GB'
