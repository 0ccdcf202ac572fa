"""Demonstrations on the host: rows, files, split and statistics.

The letter F counts frames, over all episodes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.model import VlaNorm
from rlt_jax.vlas.pi_small.objective import targets

# An idle joint hardly moves, and dividing by its own deviation would make a
# task of its tremor: no entry counts as quieter than this share of the root
# mean square over the entries it is compared with.
_FLOOR = 0.3
_FACTS = ('action_mode', 'action_scale', 'joint_names', 'control_hz')


class DemoBatch(NamedTuple):
  """Frames of demonstrations; arrays lead with [F].

  images: camera -> uint8 [F, S, S, 3].
  proprio: float32 [F, P] positions (rad; grippers m), then velocities (per s).
  prompt: int32 [F, L].
  chunk: float32 [F, H, A] commanded offsets from the frame's commands, in
    normalised action units; past the end of the demo the last one is held.
  chunk_valid: bool [F, H] False past the end of the demo.
  way: float32 [F, 6] how the tool's tip has yet to move (m) and turn (rotation
    vector, rad) until the end of the demo, in the tip's frame.
  episode: int32 [F].
  """

  images: Mapping[str, np.ndarray]
  proprio: np.ndarray
  prompt: np.ndarray
  chunk: np.ndarray
  chunk_valid: np.ndarray
  way: np.ndarray
  episode: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Demos:
  """A set of frames and the action space they were recorded in.

  action_scale: [A] rad or m per normalized unit.
  joint_names: [A] order of the actions and of the positions in proprio.
  control_hz: rate of the steps of a chunk, 1/s.
  """

  frames: DemoBatch
  action_mode: str
  action_scale: tuple[float, ...]
  joint_names: tuple[str, ...]
  control_hz: float

  def __len__(self):
    return len(self.frames.proprio)

  def action_facts(self) -> dict[str, Any]:
    """Returns what `pi_vla.make` is told of the actions."""
    return {name: getattr(self, name) for name in _FACTS}


def take(frames: DemoBatch, rows: np.ndarray) -> DemoBatch:
  """Returns the frames at integer `rows` [B]."""
  images = {camera: x[rows] for camera, x in frames.images.items()}
  rest = [x[rows] for x in frames[1:]]
  return DemoBatch(images, *rest)


def load(path: str | pathlib.Path, cameras: Sequence[str]) -> Demos:
  """Reads one .npz file, or every .npz of a folder in order of name.

  Args:
    path: each file holds the arrays of `DemoBatch`, images under
      'images/<camera>', and 'action_scale' [A], 'action_mode', 'joint_names'
      [A] and 'control_hz'.
    cameras: to read; others in the files are left out.

  Raises:
    ValueError: no files, or files that disagree.
  """
  path = pathlib.Path(path)
  files = sorted(path.rglob('*.npz')) if path.is_dir() else [path]
  if not files:
    raise ValueError(f'The folder must hold .npz files: {path}.')
  names = [f'images/{camera}' for camera in cameras] + [*DemoBatch._fields[1:]]
  lengths, spaces = [], []
  for file in files:
    with np.load(file, allow_pickle=False) as shard:
      missing = [n for n in (*names, *_FACTS) if n not in shard.files]
      if missing:
        raise ValueError(
          f'{file} must hold {[*names, *_FACTS]}; it lacks {missing}. '
          'Record it with experiments.make_demos.'
        )
      lengths.append(len(shard['proprio']))
      scale = tuple(float(x) for x in shard['action_scale'])
      joints = tuple(str(x) for x in shard['joint_names'])
      spaces.append(
        (str(shard['action_mode']), scale, joints, float(shard['control_hz']))
      )
  if len(set(spaces)) > 1:
    raise ValueError(f'Files must share one action space: {set(spaces)}.')
  columns = _fill(files, names, lengths)
  folders = np.repeat([str(file.parent) for file in files], lengths)
  columns['episode'] = _number(columns['episode'], folders)
  images = {camera: columns[f'images/{camera}'] for camera in cameras}
  rest = [columns[name] for name in DemoBatch._fields[1:]]
  facts = dict(zip(_FACTS, spaces[0], strict=True))
  return Demos(frames=DemoBatch(images, *rest), **facts)


def _number(episode, folders):
  """Numbers episodes anew: two folders may both count from 0."""
  pairs = np.stack([np.unique(folders, return_inverse=True)[1], episode])
  return np.unique(pairs, axis=1, return_inverse=True)[1].astype(np.int32)


def _fill(files, names, lengths):
  """Reads column by column, so that no array is held twice."""
  columns = {}
  for name in names:
    start, column = 0, None
    for file, length in zip(files, lengths, strict=True):
      with np.load(file, allow_pickle=False) as shard:
        part = shard[name]
      if len(part) != length:
        raise ValueError(
          f'{file} must hold {length} rows of {name}: {len(part)}.'
        )
      if column is None:
        column = np.empty((sum(lengths), *part.shape[1:]), part.dtype)
      if part.dtype != column.dtype or part.shape[1:] != column.shape[1:]:
        raise ValueError(
          f'{name} must be {column.dtype} {column.shape[1:]} in all files: '
          f'{part.dtype} {part.shape[1:]} in {file}.'
        )
      column[start : start + length] = part
      start += length
    columns[name] = column
  return columns


def check(demos: Demos, config: PiConfig) -> None:
  """Raises a ValueError if frames do not fit the config or are not finite."""
  frames, F = demos.frames, len(demos)
  side, A = config.image_size, config.action_dim
  expected = {
    'proprio': (np.float32, (F, config.proprio_dim)),
    'prompt': (np.int32, (F, config.prompt_length)),
    'chunk': (np.float32, (F, config.horizon, A)),
    'chunk_valid': (np.bool_, (F, config.horizon)),
    'way': (np.float32, (F, 6)),
    'episode': (np.int32, (F,)),
  }
  columns = frames._asdict() | {
    f'images/{c}': x for c, x in frames.images.items()
  }
  for camera in config.cameras:
    expected[f'images/{camera}'] = (np.uint8, (F, side, side, 3))
  for name, (dtype, shape) in expected.items():
    x = columns[name]
    if x.dtype != dtype or x.shape != shape:
      raise ValueError(
        f'{name} must be {np.dtype(dtype)} {shape}: {x.dtype} {x.shape}.'
      )
    if x.dtype == np.float32 and not np.isfinite(x).all():
      raise ValueError(f'{name} must be finite: {x[~np.isfinite(x)][:4]}.')
  if len(demos.action_scale) != A:
    raise ValueError(f'action_scale must be [{A}]: {demos.action_scale}.')
  if frames.prompt.min() < 0 or frames.prompt.max() >= config.vocabulary:
    raise ValueError(
      f'prompt ids must be in [0, {config.vocabulary}): '
      f'{frames.prompt.min()} to {frames.prompt.max()}.'
    )


def split_episodes(
  episode: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns row numbers for training and for validation, by whole episodes.

  Args:
    episode: int32 [F].
    share: of the episodes that validate; at least one does.
    seed: of the choice.
  """
  names = np.unique(episode)
  if len(names) < 2:
    raise ValueError(f'A split takes two episodes or more: {len(names)}.')
  count = max(1, round(share * len(names)))
  held_out = np.random.default_rng(seed).permutation(names)[:count]
  is_held_out = np.isin(episode, held_out)
  return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def measure(frames: DemoBatch, config: PiConfig) -> VlaNorm:
  """Measures means and floored deviations for whitening, float32.

  Deviations are floored within groups of one unit and meaning: positions,
  velocities, the commands of one step, moves, turns.
  """
  A = config.action_dim
  target = np.asarray(targets(frames.way, config=config))
  proprio_std = frames.proprio.std(0, dtype=np.float64)
  groups = [proprio_std[:A], proprio_std[A:]]
  proprio_std = np.concatenate(
    [_floored(x, 'proprio') for x in groups if x.size]
  )
  chunk_std = _floored(frames.chunk.std(0, dtype=np.float64), 'chunk')
  target_std = target.std(0, dtype=np.float64).reshape(-1, 3)
  target_std = _floored(target_std, 'targets').reshape(-1)
  norm = VlaNorm(
    proprio_mean=frames.proprio.mean(0, dtype=np.float64),
    proprio_std=proprio_std,
    chunk_mean=frames.chunk.mean(0, dtype=np.float64),
    chunk_std=chunk_std,
    target_mean=target.mean(0, dtype=np.float64),
    target_std=target_std,
  )
  return VlaNorm(*(x.astype(np.float32) for x in norm))


def _floored(std, name):
  """Floors deviations [..., entries] by their root mean square over entries."""
  level = np.sqrt(np.square(std).mean(-1, keepdims=True))
  if not level.all():
    raise ValueError(f'{name} must differ between frames: deviations {std}.')
  return np.maximum(std, _FLOOR * level)
