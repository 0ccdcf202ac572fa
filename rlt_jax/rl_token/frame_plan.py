"""Which frames of a source Stage 1 uses, and in which order.

A frame has a number: episodes are chosen, and their frames are counted one
episode after the other.
"""

from collections.abc import Iterator, Sequence
import dataclasses

import numpy as np

from rlt_jax.demo_files import TaskFacts
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demo_source import EpisodeInfo


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FramePlan:
  """The chosen episodes and their split.

  episodes: [E] their places in the source, ascending.
  lengths: [E] frames of each.
  fit, test: places in `episodes` of those to train on and of those held out.
  tasks, task: names, and [E] the task of each episode; empty names where the
    source does not know them.
  """

  episodes: np.ndarray
  lengths: np.ndarray
  fit: np.ndarray
  test: np.ndarray
  tasks: tuple[str, ...] = ()
  task: np.ndarray | None = None

  @property
  def frames(self) -> int:
    """F, frames of all chosen episodes."""
    return int(self.lengths.sum())

  def number(self, places: np.ndarray) -> np.ndarray:
    """Returns the numbers of all frames of episodes, in order."""
    starts = self._starts()
    return np.concatenate(
      [np.arange(starts[i], starts[i] + self.lengths[i]) for i in places]
    )

  def locate(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the episode in the source [B] and the row in it [B] of frames."""
    starts = self._starts()
    place = np.searchsorted(starts, frames, side='right') - 1
    return self.episodes[place], frames - starts[place]

  def task_of(self, frames: np.ndarray) -> np.ndarray:
    """Returns the task [B], a place in `tasks`, of frames by number."""
    place = np.searchsorted(self._starts(), frames, side='right') - 1
    return self.task[place]

  def _starts(self) -> np.ndarray:
    return np.cumsum(self.lengths) - self.lengths


def choose(
  episodes: Sequence[EpisodeInfo],
  count: int,
  held_out: float,
  seed: int,
  tasks: Sequence[TaskFacts] = (),
) -> FramePlan:
  """Chooses up to `count` episodes, as many of each task.

  An episode is of a task that has its instruction, in any words of its own; one
  that follows another instruction is left out. Where tasks are not known, the
  episodes are those of the most common instruction.

  Args:
    episodes: of a source.
    count: at least 2, of all tasks.
    held_out: share of the episodes not to train on; at least one of each task
      is left out.
    seed: of the choice.
    tasks: of the source.

  Raises:
    ValueError: fewer than two episodes of a task.
  """
  rng = np.random.default_rng(seed)
  groups = _by_task(episodes, tasks)
  chosen, task, fit, test = [], [], [], []
  for group, alike in enumerate(groups):
    found = np.sort(rng.permutation(alike)[: count // len(groups)])
    kept = demos_lib.split_episodes(np.arange(len(found)), held_out, seed)
    for places, part in zip((fit, test), kept, strict=True):
      places.append(part + sum(map(len, chosen)))
    chosen.append(found)
    task.append(np.full(len(found), group))
  return FramePlan(
    episodes=(picked := np.concatenate(chosen)),
    lengths=np.array([episodes[i].frames for i in picked]),
    fit=np.concatenate(fit),
    test=np.concatenate(test),
    tasks=tuple(task.name for task in tasks),
    task=np.concatenate(task),
  )


def _by_task(
  episodes: Sequence[EpisodeInfo], tasks: Sequence[TaskFacts]
) -> list[np.ndarray]:
  """Returns the episodes of each task, or of the commonest instruction."""
  texts = np.array([info.instruction for info in episodes])
  if tasks:
    own = [[task.instruction, *task.phrasings] for task in tasks]
    return [np.flatnonzero(np.isin(texts, words)) for words in own]
  _, kind, sizes = np.unique(texts, return_inverse=True, return_counts=True)
  return [np.flatnonzero(kind.ravel() == np.argmax(sizes))]


def draw(frames: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Returns up to `count` of the frames, in their order."""
  if len(frames) <= count:
    return frames
  chosen = np.random.default_rng(seed).permutation(len(frames))[:count]
  return frames[np.sort(chosen)]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrameOrder:
  """The frames of all steps, a function of the seed alone.

  Every epoch takes each frame once. It is cut into blocks that fit in memory:
  some frames of some episodes, mixed.

  episodes: numbers of the frames of each episode.
  block_frames: largest number of frames of a block.
  frames_per_read: largest number of frames of an episode in a block, before
    the block gets others of it by chance.
  seed: of the order.
  """

  episodes: Sequence[np.ndarray]
  block_frames: int
  frames_per_read: int
  seed: int

  def blocks(self, first: int, last: int) -> Iterator[np.ndarray]:
    """Yields the frames from place `first` to `last` of the order, by block."""
    size = sum(map(len, self.episodes))
    epoch = first // size
    place = epoch * size
    while place < last:
      for block in self._make_epoch(epoch):
        begin, end = max(first - place, 0), min(last - place, len(block))
        place += len(block)
        if begin < end:
          yield block[begin:end]
      epoch += 1

  def _make_epoch(self, epoch: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([self.seed, epoch])
    pieces = []
    for frames in self.episodes:
      mixed = rng.permutation(frames)
      for start in range(0, len(mixed), self.frames_per_read):
        pieces.append(mixed[start : start + self.frames_per_read])
    block, size = [], 0
    for i in rng.permutation(len(pieces)):
      if block and size + len(pieces[i]) > self.block_frames:
        yield rng.permutation(np.concatenate(block))
        block, size = [], 0
      block.append(pieces[i])
      size += len(pieces[i])
    yield rng.permutation(np.concatenate(block))


def order_of(
  plan: FramePlan, *, block_frames: int, frames_per_read: int, seed: int
) -> FrameOrder:
  """Returns the order of the frames to train on."""
  return FrameOrder(
    episodes=[plan.number([place]) for place in plan.fit],
    block_frames=block_frames,
    frames_per_read=min(frames_per_read, block_frames),
    seed=seed,
  )
