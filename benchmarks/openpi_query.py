"""Latency and memory of a query of π0 or π0.5 with random weights.

  python -m benchmarks.openpi_query --config=pi05_aloha
  python -m benchmarks.openpi_query --config=pi05_aloha --tiny

A query is the model's: tower, prefix, all steps of the flow, inputs on the
device. The weights are drawn on the device in the served type, so nothing is
downloaded. Rows give p50, p99 and the worst of the queries in ms, and the
largest memory that the device reports. `--tiny` has the published structure
with a 16th of the widths and two layers, for a machine without a GPU.
"""

import dataclasses

from absl import flags

from benchmarks import out_file, timing
from experiments import launch

_CONFIG = launch.define_path(
  'config', 'pi05_aloha', 'Name of a configuration, or a .json file.'
)
_ROWS = flags.DEFINE_list('rows', ['1'], 'Observations in a query, to time.')
_QUERIES = flags.DEFINE_integer('queries', 100, 'Timed queries per row count.')
_TINY = flags.DEFINE_bool('tiny', False, 'Whether to shrink the model.')
_OUT = out_file.define_out()


def main() -> None:
  """Prints a row for each size of a query."""
  out_file.check(_OUT.value)
  from benchmarks import openpi_timing
  from rlt_jax.vlas.openpi import config as config_lib

  config = config_lib.load(_CONFIG.value)
  if _TINY.value:
    config = dataclasses.replace(
      config, model=openpi_timing.shrink(config.model)
    )
  params = openpi_timing.random_params(config.model)
  facts = {'config': _CONFIG.value, 'tiny': _TINY.value}
  table = []
  for rows in map(int, _ROWS.value):
    found = openpi_timing.measure(config, params, rows, _QUERIES.value)
    print('  '.join(f'{k} {v:.4g}' for k, v in found.items()), flush=True)
    table.append(facts | found)
  timing.finish(table, timing.origin(), _OUT.value)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False, saves_nothing=True)
