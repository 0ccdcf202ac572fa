"""The batches that Stage 1 trains on: from memory, or embedded as they come."""

import abc
from collections.abc import Callable, Generator, Iterator
import dataclasses
import time
from typing import Any

import jax
import numpy as np

from rlt_jax import batching
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.frame_plan import FrameOrder
from rlt_jax.rl_token.frame_reader import batches, FrameReader
from rlt_jax.rl_token.objective import Batch
from rlt_jax.rl_token.teacher import Teacher, VlaTeacher
from rlt_jax.sitting import spell
from rlt_jax.types import Array, Params
from rlt_jax.vlas.vla import VlaHooks


class TokenData(abc.ABC):
  """What `train.train_token` reads; the same numbers in every sitting."""

  @abc.abstractmethod
  def batches(self, first: int) -> Generator[Batch, None, None]:
    """Yields the batches of step `first` and of all after it."""

  @abc.abstractmethod
  def sample(
    self, vla_params: Params | None = None
  ) -> Iterator[tuple[Array, Array]]:
    """Yields tokens [b, N, D] and mask [b, N] of frames for the statistics.

    Args:
      vla_params: of the VLA that embeds; None for those it began with.
    """


class ArrayData(TokenData):
  """Arrays in memory."""

  def __init__(
    self,
    source: Any,
    config: TokenConfig,
    *,
    mask: np.ndarray | None = None,
    vla: VlaHooks | None = None,
    order: FrameOrder | None = None,
    sample: np.ndarray | None = None,
    seed: int = 0,
  ):
    """Checks the arrays.

    Args:
      source: host arrays with a leading [F]. With alpha 0 the image tokens
        [F, N, D] of any float type; otherwise the data that `vla` takes.
      config: sizes and schedule.
      mask: bool [F, N], False is padding; None means that all are visible.
      vla: hooks for joint training, given if and only if alpha > 0.
      order: of the frames; None mixes all of them in every epoch.
      sample: frames for the statistics; None takes all.
      seed: of the order, where none is given.

    Raises:
      ValueError: source, mask or hooks do not fit the config.
    """
    self._mask = _check_source(source, config, mask, vla)
    frames = np.arange(len(self._mask))
    self._source, self._vla, self._config = source, vla, config
    self._order = order or FrameOrder(
      episodes=[frames],
      block_frames=len(frames),
      frames_per_read=len(frames),
      seed=seed,
    )
    self._sample = frames if sample is None else sample

  def batches(self, first: int) -> Generator[Batch, None, None]:
    """Yields batches; see `TokenData.batches`."""
    size, steps = self._config.batch_size, self._config.steps
    blocks = self._order.blocks(first * size, steps * size)
    for rows in batches(blocks, size):
      yield Batch(*self.take(rows))

  def take(self, frames: np.ndarray) -> tuple[Any, np.ndarray]:
    """Returns the source and the mask at frames."""
    return _take(self._source, frames), self._mask[frames]

  def sample(
    self, vla_params: Params | None = None
  ) -> Iterator[tuple[Array, Array]]:
    """Yields tokens of the sample; see `TokenData.sample`."""
    size, vla = self._config.batch_size, self._vla
    if vla is not None:
      vla_params = vla.params if vla_params is None else vla_params
      run = jax.jit(vla.tokens)
    for start in range(0, len(self._sample), size):
      rows = self._sample[start : start + size]
      part = _take(self._source, rows)
      if vla is not None:
        part = batching.map_in_batches(lambda x: run(vla_params, x), part, size)
      yield part, self._mask[rows]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrameEmbedder:
  """Frames of demonstrations, and what embeds them.

  rows: frames per query. show: called with progress.
  """

  reader: FrameReader
  teacher: Teacher
  rows: int
  show: Callable[[str], None]

  def embed(self, frames: np.ndarray) -> Iterator[tuple[Array, Array]]:
    """Yields tokens and mask of frames in order, `rows` or fewer at a time."""
    done, total, began = 0, len(frames), time.monotonic()
    for part in self.reader.read(frames, self.rows):
      yield self.teacher.embed(part)
      done += len(part.proprio)
      left = (time.monotonic() - began) * (total - done) / done
      self.show(f'{done:,} of {total:,} frames, about {spell(left)} left')

  def with_params(self, params: Params) -> 'FrameEmbedder':
    """Returns the same with other weights of the VLA, which is in-process."""
    return dataclasses.replace(self, teacher=self.teacher.with_params(params))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StreamData(TokenData):
  """Frames that are read and embedded batch by batch.

  sampled: frames for the statistics. joint: whether the VLA is trained too; a
  batch then holds the frames, and the teacher is a `VlaTeacher`.
  """

  embedder: FrameEmbedder
  order: FrameOrder
  sampled: np.ndarray
  config: TokenConfig
  joint: bool = False

  def batches(self, first: int) -> Generator[Batch, None, None]:
    """Yields batches; see `TokenData.batches`."""
    size, steps = self.config.batch_size, self.config.steps
    blocks = self.order.blocks(first * size, steps * size)
    teacher = self.embedder.teacher
    for frames in batches(self.embedder.reader.read_blocks(blocks), size):
      if self.joint:
        assert isinstance(teacher, VlaTeacher)
        yield Batch(frames, teacher.mask(frames))
      else:
        yield Batch(*teacher.embed(frames))

  def sample(
    self, vla_params: Params | None = None
  ) -> Iterator[tuple[Array, Array]]:
    """Yields tokens of the sample; see `TokenData.sample`."""
    embedder = self.embedder
    if vla_params is not None:
      embedder = embedder.with_params(vla_params)
    yield from embedder.embed(self.sampled)


def _check_source(source, config, mask, vla):
  if (config.alpha > 0.0) != (vla is not None):
    raise ValueError(
      'VLA hooks must be given if and only if alpha > 0: '
      f'alpha {config.alpha}, hooks {"given" if vla else "missing"}.'
    )
  lengths = {len(x) for x in jax.tree.leaves(source)}
  if len(lengths) != 1 or 0 in lengths:
    raise ValueError(f'All leaves need the same F > 0 frames: {lengths}.')
  shape = (lengths.pop(), config.num_image_tokens, config.token_dim)
  if vla is None and source.shape != shape:
    raise ValueError(f'Tokens must be [F, N, D] = {shape}: {source.shape}.')
  mask = np.ones(shape[:2], bool) if mask is None else np.asarray(mask, bool)
  if mask.shape != shape[:2]:
    raise ValueError(f'mask must be [F, N] = {shape[:2]}: {mask.shape}.')
  return mask


def _take(source, index):
  return jax.tree.map(lambda x: x[index], source)
