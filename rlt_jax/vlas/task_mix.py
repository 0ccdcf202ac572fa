"""Demonstrations of several tasks, as one set of frames that share a unit."""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import demo_files
from rlt_jax.vlas import demo_shards
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demo_shards import Index
from rlt_jax.vlas.demos import DemoBatch, Demos

# What tasks may not differ in; each has an action unit of its own.
_SHARED = ('action_mode', 'joint_names', 'control_hz')


class TaskMix(NamedTuple):
  """Frames of several tasks.

  demos: of all tasks; chunks are in the unit of `demos.action_scale`, `proprio`
    has positions and rates of the joints, and `tasks` is in order.
  rows: frame numbers of each task.
  share: probability that a frame of a batch is of each task.
  action_scale: [A] unit of each task's own demonstrations.
  rest_share: probability that a frame of a batch is shown as `rest` shows it.
  labels: names of the groups of rows, where they are not of a task each.
  """

  demos: Demos
  rows: tuple[np.ndarray, ...]
  share: tuple[float, ...]
  action_scale: tuple[tuple[float, ...], ...]
  rest_share: float = 0.0
  labels: tuple[str, ...] = ()

  def names(self) -> tuple[str, ...]:
    """Returns the tasks' names, or the labels."""
    return self.labels or tuple(task.name for task in self.demos.tasks)

  def prompts(self) -> tuple[np.ndarray, ...]:
    """Returns the prompts [N, L] of each task's demonstrations, each once."""
    prompt = self.demos.frames.prompt
    return tuple(np.unique(prompt[rows], axis=0) for rows in self.rows)

  def task_of(self, frames: np.ndarray) -> np.ndarray:
    """Returns the number of the task of each frame, int [B]."""
    return np.searchsorted([rows[-1] for rows in self.rows], frames)

  def draw(self, rows: Sequence[np.ndarray], size: int, rng: Any) -> np.ndarray:
    """Returns frame numbers [size], each of a task by its share.

    Args:
      rows: frames of each task to draw from.
      size: of a batch.
      rng: NumPy's Generator; two draws are taken from it.
    """
    task = rng.choice(len(self.share), size=size, p=self.share)
    place, drawn = rng.random(size), np.empty(size, np.int64)
    for i, frames in enumerate(rows):
      mine = task == i
      drawn[mine] = frames[(place[mine] * len(frames)).astype(np.int64)]
    return drawn


def rest(
  frames: DemoBatch,
  task: np.ndarray,
  prompts: Sequence[np.ndarray],
  share: float,
  rng: Any,
) -> DemoBatch:
  """Returns frames of which some have the instruction of another task, at rest.

  Demonstrations alone do not say that the instruction matters: each scene is
  seen under instructions of its own task only. Told another task, the arms stay
  where they are, a chunk of zeros. The remaining motion, which teaches the
  prefix what is where, stays as it is.

  Args:
    frames: arrays [B, ...]; not changed.
    task: int [B], of each frame.
    prompts: [N, L] of each task, at least two.
    share: probability that a frame is at rest.
    rng: NumPy's Generator; draws are taken from it.
  """
  B, num = len(task), len(prompts)
  chosen = rng.random(B) < share
  other = (task + rng.integers(1, num, size=B)) % num
  place = rng.random(B)
  prompt = frames.prompt.copy()
  for row in np.flatnonzero(chosen):
    texts = prompts[other[row]]
    prompt[row] = texts[int(place[row] * len(texts))]
  chunk = np.where(chosen[:, None, None], np.float32(0.0), frames.chunk)
  return frames._replace(
    prompt=prompt,
    chunk=chunk,
    chunk_valid=frames.chunk_valid | chosen[:, None],
  )


def read_indexes(
  paths: Sequence[str | pathlib.Path], cameras: Sequence[str]
) -> list[Index]:
  """Reads what a training needs to know of each task before its frames.

  Args:
    paths: of the .npz files of a task each.
    cameras: of the VLA.

  Raises:
    ValueError: demonstrations that do not name their task, of two tasks in a
      path or of one in two, or that differ in joints, rate or action mode.
  """
  found: list[Index] = []
  for path in paths:
    # `load` says what is left out.
    index = demo_shards.read_index(path, cameras, _silent, joints=True)
    if len(index.tasks) != 1:
      names = [task.name for task in index.tasks]
      raise ValueError(
        'Demonstrations of several tasks must lie in a path for each task and '
        f'name it, as make_demos does: {path} has the tasks {names}.'
      )
    for other, before in zip(found, paths, strict=False):
      if other.tasks[0].instruction == index.tasks[0].instruction:
        raise ValueError(
          'Each task must have one path of demonstrations, a folder of all of '
          f'them: {before} and {path} are of {index.tasks[0].name}.'
        )
      for name in _SHARED:
        if other.facts[name] != index.facts[name]:
          raise ValueError(
            f'Demonstrations of several tasks must have one {name}: '
            f'{other.facts[name]} in {before}, {index.facts[name]} in {path}.'
          )
    found.append(index)
  return found


def _silent(text: str) -> None:
  del text


def load(
  paths: Sequence[str | pathlib.Path],
  share: Sequence[float],
  cameras: Sequence[str],
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None],
  action_scale: Sequence[float] | None = None,
  rest_share: float = 0.0,
  *,
  joints: bool = True,
  labels: Sequence[str] = (),
) -> TaskMix:
  """Reads demonstrations of several tasks, or several sets of one.

  Args:
    paths: as `read_indexes` checked them.
    share: weight of each task; made to sum to 1.
    cameras, tokenize, say, joints: as for `demos.load`.
    action_scale: [A] unit of the chunks; None takes that of the first task.
    rest_share: see `TaskMix`.
    labels: names of several sets of one task.

  Raises:
    ValueError: see `demos.load`; frames of two tasks of different shapes.
  """
  parts, rows, scales, start = [], [], [], 0
  for path in paths:
    demos = demos_lib.load(path, cameras, tokenize, say, joints=joints)
    scales.append(demos.action_scale)
    action_scale = tuple(action_scale or demos.action_scale)
    ratio = np.float32(demos.action_scale) / np.float32(action_scale)
    frames = demos.frames
    np.multiply(frames.chunk, ratio, out=frames.chunk)
    first = parts[-1].frames.episode.max() + 1 if parts else 0
    parts.append(
      dataclasses.replace(
        demos,
        frames=frames._replace(episode=frames.episode + np.int32(first)),
      )
    )
    rows.append(np.arange(start, start + len(demos)))
    start += len(demos)
  _check_shapes(parts, paths)
  total = float(np.sum(share))
  tasks = [task for part in parts for task in part.tasks]
  texts = sorted({text for part in parts for text in part.instructions})
  facts = parts[0].action_facts() | {'action_scale': action_scale}
  return TaskMix(
    demos=Demos(
      frames=_join([part.frames for part in parts]),
      instructions=tuple(texts),
      tasks=tuple(tasks),
      **facts,
    ),
    rows=tuple(rows),
    share=tuple(float(x) / total for x in share),
    action_scale=tuple(scales),
    rest_share=rest_share,
    labels=tuple(labels),
  )


def check_shares(share: Sequence[float], tasks: int) -> None:
  """Raises a ValueError unless there is a positive weight for each task."""
  if len(share) != tasks or not all(0.0 < x < np.inf for x in share):
    raise ValueError(
      f'share must have a positive number for each of the {tasks} tasks: '
      f'{list(share)}.'
    )


def check_rest_share(share: float, tasks: int) -> None:
  """Raises a ValueError unless there is another task to be told of."""
  if not 0.0 <= share < 1.0:
    raise ValueError(f'rest_share must be in [0, 1): {share}.')
  if share and tasks < 2:
    raise ValueError(
      f'rest_share must be 0 where there is one task, as no other can be told: '
      f'{share}.'
    )


def read_proprio(index: Index) -> tuple[np.ndarray, np.ndarray]:
  """Returns what a task measures [F, P], and joints and rates [F, 2 A]."""
  columns = {'proprio': [], 'joints': []}
  for file in index.files:
    with demo_files.open_shard(file) as shard:
      for name, parts in columns.items():
        parts.append(shard.read(name))
  return np.concatenate(columns['proprio']), np.concatenate(columns['joints'])


def _check_shapes(parts: Sequence[Demos], paths: Sequence[Any]) -> None:
  """Raises a ValueError unless frames of all tasks have one shape."""
  first = _shapes(parts[0].frames)
  for part, path in zip(parts[1:], paths[1:], strict=True):
    for name, shape in _shapes(part.frames).items():
      if shape != first[name]:
        raise ValueError(
          f'Demonstrations of several tasks must have one shape of {name}: '
          f'{first[name]} in {paths[0]}, {shape} in {path}.'
        )


def _shapes(frames: DemoBatch) -> dict[str, Any]:
  motion = frames.remaining_motion
  return {f'images/{k}': x.shape[1:] for k, x in frames.images.items()} | {
    'joints': frames.proprio.shape[1:],
    'chunk': frames.chunk.shape[1:],
    'remaining_motion': None if motion is None else motion.shape[1:],
  }


def _join(parts: Sequence[DemoBatch]) -> DemoBatch:
  """Returns frames one after the other; frees the images of the parts."""
  images = {}
  for camera in tuple(parts[0].images):
    images[camera] = np.concatenate([x.images.pop(camera) for x in parts])
  rest = (
    None if columns[0] is None else np.concatenate(columns)
    for columns in zip(*(part[1:] for part in parts), strict=True)
  )
  return DemoBatch(images, *rest)
