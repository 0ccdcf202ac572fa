"""Reads frames of a source ahead, on threads, in an order that is given."""

from collections.abc import Iterable, Iterator
from concurrent import futures
import dataclasses
from typing import Any

import jax
import numpy as np

from rlt_jax.rl_token.frame_plan import FramePlan
from rlt_jax.vlas.demo_source import DemoSource
from rlt_jax.vlas.demos import DemoBatch

BLOCKS = 3  # in memory at a time, at most: in use, being mixed, and ahead
_Read = tuple[np.ndarray, futures.Future]  # places in a block, its frames


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrameReader:
  """Reads frames by their numbers.

  source, plan: of the frames. threads: that read at a time. block_frames: of
  `read`; at most three such blocks are in memory at a time.
  """

  source: DemoSource
  plan: FramePlan
  threads: int
  block_frames: int

  def read(
    self, frames: np.ndarray, size: int, *, images: bool = True
  ) -> Iterator[DemoBatch]:
    """Yields frames [F'] in their order, `size` at a time; the last has fewer.

    Args:
      frames: numbers of frames.
      size: of a batch.
      images: whether to read them too.
    """
    cuts = range(0, len(frames), self.block_frames)
    blocks = (frames[i : i + self.block_frames] for i in cuts)
    return batches(self.read_blocks(blocks, images=images), size)

  def read_blocks(
    self, blocks: Iterable[np.ndarray], *, images: bool = True
  ) -> Iterator[DemoBatch]:
    """Yields the frames of each block, and reads the next one meanwhile.

    What is yielded does not depend on which thread is faster.

    Args:
      blocks: numbers of frames, in any order; taken one ahead.
      images: whether to read them too.
    """
    pool = futures.ThreadPoolExecutor(self.threads, 'read frames')
    try:
      ahead = None
      for block in blocks:
        begun = len(block), self._begin(pool, block, images)
        if ahead is not None:
          yield _gather(*ahead)
        ahead = begun
      if ahead is not None:
        yield _gather(*ahead)
    finally:
      pool.shutdown(cancel_futures=True)

  def _begin(self, pool, block, images) -> list[_Read]:
    episodes, rows = self.plan.locate(block)
    reads = []
    for episode in np.unique(episodes):
      places = np.flatnonzero(episodes == episode)
      places = places[np.argsort(rows[places], kind='stable')]
      read = pool.submit(
        self.source.read_rows, int(episode), rows[places], images=images
      )
      reads.append((places, read))
    return reads


def batches(blocks: Iterable[Any], size: int) -> Iterator[Any]:
  """Yields the rows of blocks, `size` at a time; the last may have fewer.

  Args:
    blocks: trees of NumPy arrays with the same structure, leading with rows.
    size: of a batch.
  """
  parts, missing = [], size
  for block in blocks:
    start, total = 0, len(jax.tree.leaves(block)[0])
    while start < total:
      stop = min(total, start + missing)
      cut = slice(start, stop)
      parts.append(jax.tree.map(lambda x: x[cut], block))  # noqa: B023
      missing -= stop - start
      start = stop
      if not missing:
        yield _join(parts)
        parts, missing = [], size
  if parts:
    yield _join(parts)


def _join(parts):
  if len(parts) == 1:
    return parts[0]
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _gather(total: int, reads: list[_Read]) -> DemoBatch:
  """Returns the frames of a block; frees what was read as it goes."""
  block = None
  while reads:
    places, read = reads.pop(0)
    part = read.result()
    if block is None:
      block = jax.tree.map(
        lambda x: np.empty((total, *x.shape[1:]), x.dtype), part
      )
    for whole, some in zip(
      jax.tree.leaves(block), jax.tree.leaves(part), strict=True
    ):
      whole[places] = some
  return block
