"""Demonstrations on the host: rows, files, split and statistics.

The letter F counts frames, over all episodes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import hashlib
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import demo_files
from rlt_jax.demo_files import TaskFacts
from rlt_jax.vlas import demo_shards
from rlt_jax.vlas.vla import VlaSpec


class DemoBatch(NamedTuple):
  """Frames of demonstrations; arrays lead with [F].

  images: camera -> uint8 [F, S, S, 3].
  proprio: float32 [F, P] what the VLA reads of the arms: what the task
    measures, or the joints' positions and then rates [F, 2 A].
  prompt: int32 [F, L] the instruction, as the VLA tokenizes it.
  chunk: float32 [F, H, A] offsets of the commands from the frame's measured
    pose, in normalized action units; past the end of the demo the last one is
    held.
  chunk_valid: bool [F, H] False past the end of the demo.
  remaining_motion: float32 [F, 6] how the tool's tip has yet to move (m) and
    turn (rotation vector, rad) until the end of the demo, in the tip's frame;
    None where the data cannot tell.
  episode: int32 [F].
  """

  images: Mapping[str, np.ndarray]
  proprio: np.ndarray
  prompt: np.ndarray
  chunk: np.ndarray
  chunk_valid: np.ndarray
  remaining_motion: np.ndarray | None
  episode: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Demos:
  """A set of frames and the action space they were recorded in.

  action_scale: [A] rad or m per normalized unit.
  joint_names: [A] order of the actions and of the positions in proprio.
  control_hz: rate of the steps of a chunk, 1/s.
  instructions: the texts of the prompts, each once.
  tasks: what the demonstrations are of; empty where that is not known.
  """

  frames: DemoBatch
  action_mode: str
  action_scale: tuple[float, ...]
  joint_names: tuple[str, ...]
  control_hz: float
  instructions: tuple[str, ...] = ()
  tasks: tuple[TaskFacts, ...] = ()

  def __len__(self):
    return len(self.frames.proprio)

  def action_facts(self) -> dict[str, Any]:
    """Returns what `pi_vla.make` is told of the actions."""
    return {name: getattr(self, name) for name in demo_shards.FACTS}

  def describe(self) -> dict[str, Any]:
    """Returns sizes and a digest, to tell other demonstrations from these.

    The digest is of all columns but the images: joints are never twice the
    same.
    """
    return describe(self.action_facts(), [self.frames])


def describe(
  facts: Mapping[str, Any], parts: Iterable[DemoBatch]
) -> dict[str, Any]:
  """Returns what `Demos.describe` does.

  Args:
    facts: of the actions.
    parts: all frames, in parts that follow each other; images are not read.
  """
  digests = {name: hashlib.sha256() for name in DemoBatch._fields[1:]}
  frames, episodes = 0, set()
  for part in parts:
    frames += len(part.proprio)
    episodes.update(np.unique(part.episode).tolist())
    for name, digest in digests.items():
      column = getattr(part, name)
      if column is not None:
        digest.update(np.ascontiguousarray(column))
  whole = hashlib.sha256(repr(facts).encode())
  for digest in digests.values():
    whole.update(digest.digest())
  return {
    'frames': frames,
    'episodes': len(episodes),
    'sha256': whole.hexdigest(),
  }


def check_fit(demos: Demos, spec: VlaSpec, *, actions: bool) -> None:
  """Checks that demonstrations are such as a VLA can read.

  Args:
    demos: with prompts by the VLA's `tokenize`.
    spec: of the VLA.
    actions: whether its actions are trained too, not only its inputs read.

  Raises:
    ValueError: the first property that differs, with both values.
  """
  frames, facts = demos.frames, demos.action_facts()
  if not set(frames.images) <= set(spec.cameras):
    raise ValueError(
      f'Demonstrations must have cameras of the VLA, {tuple(spec.cameras)}: '
      f'{tuple(frames.images)}.'
    )
  rules = [
    (
      f'the shape of images of {name}',
      image.shape[1:],
      (*spec.image_shape(name), 3),
    )
    for name, image in frames.images.items()
  ] + [
    ('joint_names', facts['joint_names'], spec.joint_names),
    ('proprio_dim', frames.proprio.shape[1], spec.proprio_dim),
    ('action_dim', frames.chunk.shape[2], spec.action_dim),
  ]
  if actions:
    rules += [
      ('action_mode', facts['action_mode'], spec.action_mode),
      ('control_hz', facts['control_hz'], spec.control_hz),
      ('horizon', frames.chunk.shape[1], spec.horizon),
      *_unlike_scale(facts['action_scale'], spec.action_scale),
    ]
  for name, value, expected in rules:
    if value != expected:
      raise ValueError(
        f'Demonstrations must have {name} of the VLA, {expected}: {value}.'
      )


def _unlike_scale(value, expected):
  """Yields the rule if scales differ by more than float32 files make them."""
  if len(value) != len(expected) or not np.allclose(
    value, expected, rtol=1e-6, atol=0.0
  ):
    yield 'action_scale', value, expected


def take(frames: DemoBatch, rows: np.ndarray) -> DemoBatch:
  """Returns the frames at integer `rows` [B]."""
  images = {camera: x[rows] for camera, x in frames.images.items()}
  rest = [None if x is None else x[rows] for x in frames[1:]]
  return DemoBatch(images, *rest)


def load(
  path: str | pathlib.Path,
  cameras: Sequence[str],
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None] = lambda text: None,
  *,
  joints: bool = False,
) -> Demos:
  """Reads one .npz file, or every .npz of a folder in order of name.

  Args:
    path: each file holds the arrays of `DemoBatch`, with images under
      'images/<camera>' and 'instruction', texts [F], in place of the prompt;
      and 'action_scale' [A], 'action_mode', 'joint_names' [A], 'control_hz'.
      'remaining_motion' may be missing, in all of them.
    cameras: to read; others in the files are left out.
    tokenize: of the VLA, from an instruction to int32 [L].
    say: called with a line of text on what is read and what is left out.
    joints: whether `proprio` is to be positions and rates of the joints [F,
      2 A], which the files then hold beside what the task measures.

  Raises:
    ValueError: no files, files that disagree or are damaged, a column of
      another form, or numbers that are not finite; each by its file.
  """
  index = demo_shards.read_index(path, cameras, say, joints=joints)
  files, lengths = index.files, [len(x) for x in index.instructions]
  say(f'Reading {sum(lengths):,} frames from {len(lengths)} files.')
  columns = _fill(files, [*index.columns, 'episode'], lengths)
  columns['episode'] = np.concatenate(index.episodes)
  if joints:
    columns['proprio'] = columns['joints']
  images = {camera: columns[f'images/{camera}'] for camera in cameras}
  instructions = np.concatenate(index.instructions)
  columns['prompt'] = _tokenize(instructions, tokenize)
  rest = [columns.get(name) for name in DemoBatch._fields[1:]]
  return Demos(
    frames=DemoBatch(images, *rest),
    instructions=tuple(map(str, np.unique(instructions))),
    tasks=tuple(index.tasks),
    **index.facts,
  )


def load_outcomes(path: str | pathlib.Path) -> dict[str, Any] | None:
  """Returns how demonstrations ended, those of all their folders as one.

  Args:
    path: as for `load`.

  Returns:
    What demos.json holds: lists 'outcome' and 'steps' of the episodes, and
    'command', those of the folders joined. None where a folder of frames has
    no such file, since the figures of the rest would not be those of the data,
    and for data of another form.

  Raises:
    ValueError: a demos.json of another form.
  """
  if pathlib.Path(path).is_dir() and not any(pathlib.Path(path).rglob('*.npz')):
    return None
  merged = {'outcome': [], 'steps': []}
  commands = []
  for folder in demo_shards.folders(demo_files.find(path).shards):
    table = demo_files.read_record(folder)
    if table is None:
      return None
    for name, column in merged.items():
      column += table[name]
    commands += [table['command']] if table.get('command') else []
  return merged | {'command': '; '.join(commands)} if commands else merged


def _tokenize(instructions, tokenize):
  """Returns prompts int32 [F, L] of texts [F], each distinct one once."""
  texts, rows = np.unique(instructions, return_inverse=True)
  return np.stack([tokenize(str(text)) for text in texts])[rows.ravel()]


def _fill(files, names, lengths):
  """Reads column by column, so that no array is held twice."""
  columns = {}
  for name in names:
    start, column = 0, None
    for file, length in zip(files, lengths, strict=True):
      with demo_files.open_shard(file) as shard:
        part = shard.read(name)
      demo_shards.check_length(file, name, part, length)
      if column is None:
        column = np.empty((sum(lengths), *part.shape[1:]), part.dtype)
      if part.dtype != column.dtype or part.shape[1:] != column.shape[1:]:
        raise ValueError(
          f'{name} must be {column.dtype} {column.shape[1:]} in all files: '
          f'{part.dtype} {part.shape[1:]} in {file}.'
        )
      demo_shards.check_values(file, name, part)
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
