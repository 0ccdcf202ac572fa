"""The learner's newest weights as a file, which the control loop reads.

The file is replaced atomically: a loop that reads while the learner writes gets
the old weights. It reads between episodes only, so that one policy drives a
whole episode.
"""

from collections.abc import Mapping, Sequence
import hashlib
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
_DIGEST = 'sha256'


class Snapshot(NamedTuple):
  """Weights and their origin.

  layers: of the actor, as in a bundle. version: counts snapshots, from 1.
  rows, critic_updates: of the learner so far. written: s since the epoch.
  bundle: that the learner was given, see `bundle.digest`. learner: tells a
  learner from one that began anew and counts from 1 again. A version before
  this one wrote neither, which is ''.
  """

  layers: list[np.ndarray]
  version: int
  rows: int
  critic_updates: int
  written: float
  bundle: str = ''
  learner: str = ''


def write(folder: str | os.PathLike[str], snapshot: Snapshot) -> None:
  """Replaces the folder's snapshot; the folder must exist."""
  layers = [np.asarray(x) for x in snapshot.layers]
  about = {name: str(getattr(snapshot, name)) for name in Snapshot._fields[1:]}
  content = save(
    {f'{i:02d}': x for i, x in enumerate(layers)},
    metadata=about | {_DIGEST: _digest(about, layers)},
  )
  files.write_atomically(pathlib.Path(folder) / FILE, content)


def read(
  folder: str | os.PathLike[str],
  spec: BundleSpec,
  newer_than: Snapshot | None = None,
  *,
  bundle: str = '',
) -> Snapshot | None:
  """Returns the snapshot, or None where there is none newer than another.

  Args:
    folder: where it is.
    spec: of the policy.
    newer_than: the other one; that of another learner is newer, too.
    bundle: that the policy is of, see `bundle.digest`; '' for any.

  Raises:
    ValueError: it is damaged, is of another bundle, or its layers do not fit
      the spec.
    OSError: it cannot be read.
  """
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return None
  try:
    found = _read(path, spec, newer_than)
  except OSError:
    raise
  except Exception as error:  # safetensors has errors of its own
    raise ValueError(f'{path} must be a whole snapshot: {error}') from None
  if found and bundle and found.bundle not in (bundle, ''):
    raise ValueError(
      f"{path} must be of the loop's bundle {bundle[:12]}: its learner was "
      f'given {found.bundle[:12]}.'
    )
  return found


def _read(
  path: pathlib.Path, spec: BundleSpec, newer_than: Snapshot | None
) -> Snapshot | None:
  with safe_open(path, framework='numpy') as file:
    about = dict(file.metadata() or {})
    layers = [file.get_tensor(name) for name in sorted(file.keys())]
  expected, found = about.pop(_DIGEST, None), _digest(about, layers)
  if found != expected:
    raise ValueError(f'its digest is {found}, and it names {expected}.')
  version, learner = int(about['version']), about.get('learner', '')
  if newer_than is not None and newer_than.learner == learner:
    if version <= newer_than.version:
      return None
  bundle_lib.check_layers(spec, layers)
  return Snapshot(
    layers,
    version,
    int(about['rows']),
    int(about['critic_updates']),
    float(about['written']),
    about.get('bundle', ''),
    learner,
  )


def _digest(about: Mapping[str, str], layers: Sequence[np.ndarray]) -> str:
  """Returns the SHA-256 of the weights, their shapes and their origin."""
  shapes = [(str(x.dtype), x.shape) for x in layers]
  digest = hashlib.sha256(repr((sorted(about.items()), shapes)).encode())
  for layer in layers:
    digest.update(np.ascontiguousarray(layer).tobytes())
  return digest.hexdigest()
