"""Writes the results of a benchmark of a task."""

import json
from typing import Any

from experiments import launch
from rlt_jax import files
from rlt_jax.reporting import provenance


def write(path: str, task: str, figures: dict[str, Any]) -> None:
  """Writes a JSON object: the task, where the figures are from, the figures.

  Args:
    path: of the file; '' writes none.
    task: name, with the level of difficulty.
    figures: JSON types.
  """
  if not path:
    return
  table = {
    'task': task,
    'command': launch.command_line(),
    'commit': provenance.commit(),
    'device': provenance.device(),
    'versions': provenance.versions(),
  }
  files.write_atomically(path, json.dumps(table | figures) + '\n')
