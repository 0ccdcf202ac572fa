"""Demonstrations on the host: rows, files, split and statistics.

The letter F counts frames, over all episodes.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

# Beside the frames, how the episodes ended; a training copies it.
OUTCOMES_FILE = 'demos.json'
_FACTS = ('action_mode', 'action_scale', 'joint_names', 'control_hz')


class DemoBatch(NamedTuple):
  """Frames of demonstrations; arrays lead with [F].

  images: camera -> uint8 [F, S, S, 3].
  proprio: float32 [F, P] positions (rad; grippers m), then velocities (per s).
  prompt: int32 [F, L] the instruction, as the VLA tokenizes it.
  chunk: float32 [F, H, A] commanded offsets from the frame's commands, in
    normalized action units; past the end of the demo the last one is held.
  chunk_valid: bool [F, H] False past the end of the demo.
  remaining_motion: float32 [F, 6] how the tool's tip has yet to move (m) and
    turn (rotation vector, rad) until the end of the demo, in the tip's frame.
  episode: int32 [F].
  """

  images: Mapping[str, np.ndarray]
  proprio: np.ndarray
  prompt: np.ndarray
  chunk: np.ndarray
  chunk_valid: np.ndarray
  remaining_motion: np.ndarray
  episode: np.ndarray


# As stored; the images and the prompt are stored in another form.
_COLUMNS = tuple(
  name for name in DemoBatch._fields if name not in ('images', 'prompt')
)


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


def load(
  path: str | pathlib.Path,
  cameras: Sequence[str],
  tokenize: Callable[[str], np.ndarray],
) -> Demos:
  """Reads one .npz file, or every .npz of a folder in order of name.

  Args:
    path: each file holds the arrays of `DemoBatch`, with images under
      'images/<camera>' and 'instruction', texts [F], in place of the prompt;
      and 'action_scale' [A], 'action_mode', 'joint_names' [A], 'control_hz'.
    cameras: to read; others in the files are left out.
    tokenize: of the VLA, from an instruction to int32 [L].

  Raises:
    ValueError: no files, or files that disagree.
  """
  path = pathlib.Path(path)
  files = sorted(path.rglob('*.npz')) if path.is_dir() else [path]
  if not files:
    raise ValueError(f'The folder must hold .npz files: {path}.')
  names = [f'images/{camera}' for camera in cameras] + [*_COLUMNS]
  needed = [*names, 'instruction', *_FACTS]
  lengths, spaces, instructions = [], [], []
  for file in files:
    with np.load(file, allow_pickle=False) as shard:
      missing = [name for name in needed if name not in shard.files]
      if missing:
        raise ValueError(
          f'{file} must hold {needed}; it lacks {missing}. Record it with '
          'experiments.make_demos.'
        )
      lengths.append(len(shard['proprio']))
      instructions.append(shard['instruction'])
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
  columns['prompt'] = _tokenize(np.concatenate(instructions), tokenize)
  rest = [columns[name] for name in DemoBatch._fields[1:]]
  facts = dict(zip(_FACTS, spaces[0], strict=True))
  return Demos(frames=DemoBatch(images, *rest), **facts)


def load_outcomes(path: str | pathlib.Path) -> dict[str, Any] | None:
  """Returns how demonstrations ended, those of all their folders as one.

  Args:
    path: as for `load`.

  Returns:
    What demos.json holds: lists 'outcome' and 'steps' of the episodes, and
    'command', those of the folders joined. None where a folder of frames has
    no such file, since the figures of the rest would not be those of the data.

  Raises:
    ValueError: a file of another form.
  """
  path = pathlib.Path(path)
  files = path.rglob('*.npz') if path.is_dir() else [path]
  merged = {'outcome': [], 'steps': []}
  commands = []
  for folder in sorted({file.parent for file in files}):
    file = folder / OUTCOMES_FILE
    if not file.is_file():
      return None
    table = json.loads(file.read_text())
    try:
      if len(table['outcome']) != len(table['steps']):
        raise ValueError
      for name, column in merged.items():
        column += table[name]
    except (ValueError, KeyError, TypeError):
      raise ValueError(
        f"{file} must hold lists 'outcome' and 'steps' of one length."
      ) from None
    commands += [table['command']] if table.get('command') else []
  return merged | {'command': '; '.join(commands)} if commands else merged


def _tokenize(instructions, tokenize):
  """Returns prompts int32 [F, L] of texts [F], each distinct one once."""
  texts, rows = np.unique(instructions, return_inverse=True)
  return np.stack([tokenize(str(text)) for text in texts])[rows.ravel()]


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
