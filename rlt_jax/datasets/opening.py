"""The door to demonstrations: which format lies at a path.

Opening a recording needs no JAX; a source for a VLA does, since it is one of
`rlt_jax.vlas`.
"""

from collections.abc import Callable, Sequence
import pathlib
from typing import Any, TYPE_CHECKING

import numpy as np

from rlt_jax.datasets import aloha
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import reader
from rlt_jax.datasets.recording import Recording

if TYPE_CHECKING:
  from rlt_jax.vlas.demo_source import DemoSource

# Formats of other projects, which need a mapping.
FOREIGN = (reader.LeRobotRecording, aloha.AlohaRecording)


def open_recording(path: str | pathlib.Path) -> Recording | None:
  """Opens a dataset of another project; None where our own .npz files lie.

  Raises:
    ValueError: no such path, none of the formats, or a damaged description.
  """
  path = pathlib.Path(path)
  if (path / format_lib.INFO_PATH).is_file():
    return reader.LeRobotRecording(path)
  if not path.exists():
    raise ValueError(f'There must be demonstrations at {path}: no such path.')
  if aloha.find_files(path):
    return aloha.AlohaRecording(path)
  if path.is_file() or any(path.rglob('*.npz')):
    return None
  raise ValueError(
    'Demonstrations must be .npz files of experiments.make_demos, a LeRobot '
    f'dataset with {format_lib.INFO_PATH}, or HDF5 episodes (.hdf5) of ALOHA: '
    f'{path} has none of them.{_nearby(path)}'
  )


def _nearby(path: pathlib.Path) -> str:
  """Returns where a LeRobot dataset lies below a path, or ''."""
  for file in sorted(path.glob(f'*/{format_lib.INFO_PATH}')) + sorted(
    path.glob(f'*/*/{format_lib.INFO_PATH}')
  ):
    return f' Did you mean {file.parents[1]}?'
  return ''


def open_source(
  path: str | pathlib.Path,
  spec: Any,
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None] = lambda text: None,
  mapping: str | pathlib.Path | None = None,
  *,
  reads_joints: bool = False,
) -> 'DemoSource':
  """Opens demonstrations of any format that is read.

  Args:
    path: our .npz files, a LeRobot dataset, or ALOHA's HDF5 episodes.
    spec: of the VLA, see `mapped_source.needs_of`.
    tokenize: of the VLA, from an instruction to int32 [L].
    say: called with lines of text on what is read and how.
    mapping: the mapping file, for datasets of other projects; '' is None.
    reads_joints: whether positions of the joints must begin proprioception,
      see `FrozenVla.reads_joints`.

  Raises:
    ValueError: what does not fit, by name; a mapping that is missing, or not
      needed.
  """
  recording = open_recording(path)
  if recording is None:
    return _open_own(path, spec, tokenize, say, mapping, reads_joints)
  from rlt_jax.datasets import mapped_source

  if not mapping:
    raise ValueError(
      f'{recording.kind} needs a mapping of its joints and cameras, '
      f'--mapping=FILE: {path}. experiments.inspect_dataset --demos={path} '
      '--draft=FILE writes one to fill in.'
    )
  loaded = mapping_lib.load(mapping)
  frames = sum(episode.length for episode in recording.episodes)
  say(
    f'{recording.kind}, {len(recording.episodes):,} episodes with {frames:,} '
    f'rows, by {mapping}:'
  )
  try:
    return mapped_source.MappedSource(
      recording, loaded, mapped_source.needs_of(spec), tokenize, say
    )
  except ValueError as error:
    raise ValueError(f'{path} by {mapping}: {error}') from None


def open_sources(
  paths: Sequence[str | pathlib.Path],
  spec: Any,
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None] = lambda text: None,
  mapping: str | pathlib.Path | None = None,
  *,
  reads_joints: bool = False,
) -> 'DemoSource':
  """Opens demonstrations of several paths as one source; see `open_source`.

  Chunks are read in the unit of the VLA, if it has one yet.
  """
  from rlt_jax.vlas import demo_source

  found = [
    open_source(path, spec, tokenize, say, mapping, reads_joints=reads_joints)
    for path in paths
  ]
  if len(found) == 1:
    return found[0]
  scale = getattr(spec, 'action_scale', None)
  return demo_source.JoinedSource(found, scale)


def _open_own(
  path: str | pathlib.Path,
  spec: Any,
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None],
  mapping: str | pathlib.Path | None,
  reads_joints: bool,
) -> 'DemoSource':
  from rlt_jax.vlas import demo_source

  if mapping:
    raise ValueError(
      f'--mapping is for datasets of other projects: {path} has .npz files of '
      'experiments.make_demos, which say what they hold. Leave it out.'
    )
  joints = getattr(spec, 'state', 'proprio') == 'joints'
  if reads_joints and not joints:
    return demo_source.open_with_joints(path, spec.cameras, tokenize, say)
  return demo_source.NpzSource(path, spec.cameras, tokenize, say, joints=joints)
