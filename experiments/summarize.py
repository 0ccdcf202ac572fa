"""Pools finished practice runs: one table row per variant, over its seeds.

  python -m experiments.summarize --out=benchmarks/results/practice.json \
      full=runs/full-0,runs/full-1 zeros=runs/zeros-0

Each argument is the name of a variant and the workdirs of its seeds. It prints
a Markdown table.
"""

import json
import pathlib

from absl import flags

from experiments import launch
from rlt_jax.reporting import pooling

_OUT = flags.DEFINE_string('out', None, 'JSON file to write.', required=True)


def main(arguments: list[str]) -> None:
  """Reads, pools, writes and prints."""
  with launch.user_errors():
    if not arguments or any('=' not in x for x in arguments):
      raise ValueError(f'Arguments must be name=run,run,...: {arguments}.')
    pairs = [argument.split('=', 1) for argument in arguments]
    variants = [
      pooling.pool_seeds(name, runs.split(',')) for name, runs in pairs
    ]
  out = pathlib.Path(_OUT.value)
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(variants, indent=1) + '\n')
  print(pooling.markdown(variants))


if __name__ == '__main__':
  launch.run(main, arguments=True, keep_compiled=False)
