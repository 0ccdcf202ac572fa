"""Pools finished practice runs: one table row per variant, over its seeds.

  python -m experiments.summarize --out=sum.json full=runs/a,runs/b zeros=runs/c

Each argument is the name of a variant and the workdirs of its seeds. It prints
a Markdown table, and writes the figures into --out and a plot of success and
throughput against robot minutes beside it, as a .png file of the same name.

Cost: some seconds.
"""

import os

from . import launch

_OUT = launch.define_path(
  'out',
  None,
  'JSON file to write, with a .png of the same name beside it.',
  required=True,
)


def main(arguments: list[str]) -> None:
  """Reads, pools, writes and prints."""
  from rlt_jax import files
  from rlt_jax.reporting import pooled_report, pooling

  with launch.user_errors():
    files.check_writable(_OUT.value)
    if not arguments or any('=' not in x for x in arguments):
      raise ValueError(f'Arguments must be name=run,run,...: {arguments}.')
    pairs = [argument.split('=', 1) for argument in arguments]
    variants = [
      pooling.pool_seeds(name, [os.path.expanduser(x) for x in runs.split(',')])
      for name, runs in pairs
    ]
    plot = pooled_report.write_figures(_OUT.value, variants)
  print(f'{pooling.markdown(variants)}\n\nPlot: {plot}')


if __name__ == '__main__':
  launch.run(main, arguments=True, keep_compiled=False)
