"""The common report of several runs: table, plot and figures."""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
from typing import Any

from rlt_jax import files
from rlt_jax.reporting import definitions, plots, pooling

PLOT = 'learning.png'
_NOTE = (
  'Episodes are pooled over the seeds. Behind a throughput is the range of the '
  'seeds, which differ more than their episodes do. `base` is the VLA alone; '
  '`mean@5` is the policy without exploration noise after 5 robot minutes.'
)
_NAMES = (
  'episodes', 'success', 'median_steps', 'throughput_per_10min',
)  # fmt: skip


def write_figures(
  path: str | os.PathLike[str], variants: Sequence[Mapping[str, Any]]
) -> pathlib.Path:
  """Writes the figures as JSON and the plot beside them; returns its path.

  Args:
    path: of the JSON file; its folder is made if it is missing.
    variants: of `pooling.pool_seeds`, at least one.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write_atomically(path, json.dumps(list(variants), indent=1) + '\n')
  return _draw(path.with_suffix('.png'), variants)


def write(
  folder: str | os.PathLike[str],
  variants: Sequence[Mapping[str, Any]],
  *,
  command: str,
) -> None:
  """Writes report.md, report.json and the plot into an existing folder.

  Args:
    folder: of the sweep.
    variants: of `pooling.pool_seeds`, at least one.
    command: that ran them.
  """
  folder = pathlib.Path(folder)
  plain = json.dumps(list(variants), indent=1) + '\n'
  files.write_atomically(folder / 'report.json', plain)
  _draw(folder / PLOT, variants)
  meanings = '\n'.join(
    f'- {name}: {definitions.DEFINITIONS[name]}' for name in _NAMES
  )
  blocks = (
    '# Report of several seeds',
    pooling.markdown(variants),
    _NOTE,
    f'![Success and throughput during practice]({PLOT})',
    meanings,
    f'```\n{command}\n```',
  )
  text = '\n\n'.join(blocks) + '\n'
  files.write_atomically(folder / 'report.md', text)


def _draw(
  path: pathlib.Path, variants: Sequence[Mapping[str, Any]]
) -> pathlib.Path:
  curves = {variant['name']: pooling.along(variant) for variant in variants}
  plots.save_variants(path, curves)
  return path
