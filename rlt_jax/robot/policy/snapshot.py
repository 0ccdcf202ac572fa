"""The learner's newest weights as a file, which the control loop reads.

The file is replaced atomically: a loop that reads while the learner writes gets
the old weights. It reads between episodes only, so that one policy drives a
whole episode.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from rlt_jax import files
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import BundleSpec

FILE = 'actor.safetensors'


class Snapshot(NamedTuple):
  """Weights and their origin.

  layers: of the actor, as in a bundle. version: counts snapshots, from 1.
  rows, critic_updates: of the learner so far. written: s since the epoch.
  """

  layers: list[np.ndarray]
  version: int
  rows: int
  critic_updates: int
  written: float


def write(folder: str | os.PathLike[str], snapshot: Snapshot) -> None:
  """Replaces the folder's snapshot; the folder must exist."""
  content = save(
    {f'{i:02d}': np.asarray(x) for i, x in enumerate(snapshot.layers)},
    metadata={
      name: repr(getattr(snapshot, name)) for name in Snapshot._fields[1:]
    },
  )
  files.write_atomically(pathlib.Path(folder) / FILE, content)


def read(
  folder: str | os.PathLike[str], spec: BundleSpec, newer_than: int = 0
) -> Snapshot | None:
  """Returns the snapshot, or None where there is none newer than a version.

  Raises:
    ValueError: its layers do not fit the spec.
  """
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return None
  with safe_open(path, framework='numpy') as file:
    metadata = file.metadata()
    if int(metadata['version']) <= newer_than:
      return None
    layers = [file.get_tensor(name) for name in sorted(file.keys())]
  bundle_lib.check_layers(spec, layers)
  return Snapshot(
    layers,
    int(metadata['version']),
    int(metadata['rows']),
    int(metadata['critic_updates']),
    float(metadata['written']),
  )
