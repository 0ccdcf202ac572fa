"""Demonstrations that are read one episode at a time.

A training that reads from a source holds some episodes in memory, not all. The
.npz files of `demos.load` are one source, demonstrations in memory another.
"""

import abc
from collections.abc import Callable, Iterator, Sequence
import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import demo_files
from rlt_jax.demo_files import TaskFacts
from rlt_jax.vlas import demo_shards, known_tasks
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demos import DemoBatch, Demos

_FIRST = 2  # rows of the sample that `peek` reads


class ActionFacts(NamedTuple):
  """The action space of demonstrations; the fields are those of `Demos`.

  action_scale: [A] rad or m per normalized unit.
  joint_names: [A] order of the actions and of the positions in proprio.
  control_hz: rate of the steps of a chunk, 1/s.
  """

  action_mode: str
  action_scale: tuple[float, ...]
  joint_names: tuple[str, ...]
  control_hz: float


class EpisodeInfo(NamedTuple):
  """What is known of an episode before it is read.

  frames: F of the episode, at least 1.
  """

  frames: int
  instruction: str


class DemoSource(abc.ABC):
  """Demonstrations that are read one episode at a time.

  Reading is safe from several threads.

  facts: the action space.
  cameras: whose images `read` returns.
  episodes: all of them, in order.
  tasks: what they are of; empty where that is not known.
  """

  facts: ActionFacts
  cameras: tuple[str, ...]
  episodes: tuple[EpisodeInfo, ...]
  tasks: tuple[TaskFacts, ...] = ()

  @abc.abstractmethod
  def read(self, episode: int, *, images: bool = True) -> DemoBatch:
    """Returns the frames of an episode, in order.

    Args:
      episode: index in `episodes`.
      images: False leaves `DemoBatch.images` empty, which is faster.

    Raises:
      ValueError: damaged or unfit data, by its file.
    """

  def read_rows(
    self, episode: int, rows: np.ndarray, *, images: bool = True
  ) -> DemoBatch:
    """Returns frames [B] of an episode, by their numbers in it [B].

    A source that can reach a frame without those before it overrides this.
    """
    return demos_lib.take(self.read(episode, images=images), rows)

  def describe(self) -> dict[str, Any]:
    """Returns sizes and a digest, to tell other demonstrations from these.

    The digest is of all but the images: joints are never twice the same.
    """
    parts = (self.read(i, images=False) for i in range(len(self.episodes)))
    return demos_lib.describe(self.facts._asdict(), parts)

  def peek(self) -> Demos:
    """Returns a few frames of the first episode, for checks of shapes."""
    rows = np.arange(min(_FIRST, self.episodes[0].frames))
    return Demos(
      frames=self.read_rows(0, rows),
      instructions=(self.episodes[0].instruction,),
      **self.facts._asdict(),
    )


class _Run(NamedTuple):
  """Rows of one file that follow each other."""

  file: pathlib.Path
  start: int
  stop: int


class NpzSource(DemoSource):
  """One .npz file, or every .npz of a folder, as `demos.load` reads them."""

  def __init__(
    self,
    path: str | pathlib.Path,
    cameras: Sequence[str],
    tokenize: Callable[[str], np.ndarray],
    say: Callable[[str], None] = lambda text: None,
    *,
    joints: bool = False,
  ):
    """Reads the small columns of all files; see `demos.load`.

    With `joints` a frame's `proprio` is positions and rates of the joints
    [2 A], whatever the task measures.

    Raises:
      ValueError: no files, files that disagree or are damaged, or an episode
        with several instructions.
    """
    index = demo_shards.read_index(path, cameras, say, joints=joints)
    self.tasks, self._joints = tuple(index.tasks), joints
    self.facts = ActionFacts(**index.facts)
    self.cameras = tuple(cameras)
    self._index, self._tokenize = index, functools.cache(tokenize)
    self._runs, episodes = [], []
    for runs, texts in _find_runs(index):
      self._runs.append(runs)
      frames = sum(run.stop - run.start for run in runs)
      episodes.append(EpisodeInfo(frames, _only(texts, runs[0].file)))
    self.episodes = tuple(episodes)

  def read(self, episode: int, *, images: bool = True) -> DemoBatch:
    """Returns the frames of an episode; see `DemoSource.read`."""
    names = self._names(images)
    parts = [_read_run(run, names) for run in self._runs[episode]]
    columns = {name: np.concatenate([x[name] for x in parts]) for name in names}
    info = self.episodes[episode]
    prompt = self._tokenize(info.instruction)
    columns |= self._state(columns) | {
      'images': {
        camera: columns[f'images/{camera}']
        for camera in (self.cameras if images else ())
      },
      'prompt': np.tile(prompt, (info.frames, 1)),
      'episode': np.full(info.frames, episode, np.int32),
    }
    return DemoBatch(*(columns.get(name) for name in DemoBatch._fields))

  def describe(self) -> dict[str, Any]:
    """Returns sizes and a digest, and reads every file once."""
    return demos_lib.describe(self.facts._asdict(), self._read_files())

  def _read_files(self) -> Iterator[DemoBatch]:
    """Yields the frames of each file, without images."""
    index = self._index
    for file, episode, texts in zip(
      index.files, index.episodes, index.instructions, strict=True
    ):
      if len(texts):
        with demo_files.open_shard(file) as shard:
          columns = {name: shard.read(name) for name in self._names(False)}
        columns['prompt'] = np.stack([self._tokenize(str(x)) for x in texts])
        columns |= self._state(columns) | {'images': {}, 'episode': episode}
        yield DemoBatch(*(columns.get(name) for name in DemoBatch._fields))

  def _state(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not self._joints:
      return {}
    return {'proprio': columns['joints']}

  def _names(self, images: bool) -> list[str]:
    names = self._index.columns
    return [x for x in names if images or not x.startswith('images/')]


class MemorySource(DemoSource):
  """Demonstrations in memory; episodes in order of their numbers."""

  def __init__(self, demos: Demos):
    frames = demos.frames
    self._demos = demos
    self.facts = ActionFacts(**demos.action_facts())
    self.cameras = tuple(frames.images)
    self._rows = [
      np.flatnonzero(frames.episode == number)
      for number in np.unique(frames.episode)
    ]
    # Prompts are tokens here; two texts with the same tokens are one.
    self.episodes = tuple(
      EpisodeInfo(len(rows), str(frames.prompt[rows[0]].tolist()))
      for rows in self._rows
    )

  def read(self, episode: int, *, images: bool = True) -> DemoBatch:
    """Returns the frames of an episode; see `DemoSource.read`."""
    rows = np.arange(self.episodes[episode].frames)
    return self.read_rows(episode, rows, images=images)

  def read_rows(
    self, episode: int, rows: np.ndarray, *, images: bool = True
  ) -> DemoBatch:
    """Returns frames of an episode; see `DemoSource.read_rows`."""
    frames = self._demos.frames
    frames = frames if images else frames._replace(images={})
    taken = demos_lib.take(frames, self._rows[episode][rows])
    return taken._replace(episode=np.full(len(rows), episode, np.int32))

  def describe(self) -> dict[str, Any]:
    """Returns sizes and a digest; see `DemoSource.describe`."""
    return self._demos.describe()


def open_with_joints(
  path: str | pathlib.Path,
  cameras: Sequence[str],
  tokenize: Callable[[str], np.ndarray],
  say: Callable[[str], None] = lambda text: None,
) -> NpzSource:
  """Returns a source whose `proprio` begins with positions of the joints.

  Where the task measures something else, such as poses of the hands, it is the
  positions and rates of the joints instead.

  Args:
    path, cameras, tokenize, say: see `NpzSource`.
  """
  source = NpzSource(path, cameras, tokenize, say)
  names = source.facts.joint_names
  entries = known_tasks.joint_entries(names)[: len(names)]
  if all(task.proprio_names[: len(names)] == entries for task in source.tasks):
    return source
  return NpzSource(path, cameras, tokenize, joints=True)


class JoinedSource(DemoSource):
  """Sources one after the other, such as those of several tasks."""

  def __init__(
    self,
    sources: Sequence[DemoSource],
    action_scale: Sequence[float] | None = None,
  ):
    """Reads a few frames of each, to compare them.

    Args:
      sources: at least one.
      action_scale: [A] unit that chunks are read in; None takes the first's.

    Raises:
      ValueError: action spaces that differ in more than their unit, frames of
        other shapes, or a task in two sources.
    """
    first = sources[0]
    self._sources = tuple(sources)
    scale = tuple(action_scale or first.facts.action_scale)
    self.facts, self.cameras = (
      first.facts._replace(action_scale=scale),
      first.cameras,
    )
    self.episodes = tuple(x for source in sources for x in source.episodes)
    self.tasks = tuple(x for source in sources for x in source.tasks)
    texts = [task.instruction for task in self.tasks]
    if len(set(texts)) < len(texts):
      raise ValueError(
        'Each task must have one path of demonstrations, a folder of all of '
        f'them: {texts}.'
      )
    counts = [len(source.episodes) for source in sources]
    self._starts = np.cumsum([0, *counts])
    shapes = _shapes(first)
    for source in sources[1:]:
      facts = source.facts._replace(action_scale=scale)
      for what, value, expected in (
        ('actions', facts, self.facts),
        ('shapes of frames', _shapes(source), shapes),
      ):
        if value != expected:
          raise ValueError(
            f'All demonstrations must have the same {what}: {expected}, '
            f'{value}.'
          )

  def read(self, episode: int, *, images: bool = True) -> DemoBatch:
    """Returns the frames of an episode; see `DemoSource.read`."""
    source, number = self._locate(episode)
    return self._convert(source, source.read(number, images=images), episode)

  def read_rows(
    self, episode: int, rows: np.ndarray, *, images: bool = True
  ) -> DemoBatch:
    """Returns frames of an episode; see `DemoSource.read_rows`."""
    source, number = self._locate(episode)
    frames = source.read_rows(number, rows, images=images)
    return self._convert(source, frames, episode)

  def _locate(self, episode: int) -> tuple[DemoSource, int]:
    place = int(np.searchsorted(self._starts, episode, side='right')) - 1
    return self._sources[place], episode - int(self._starts[place])

  def _convert(
    self, source: DemoSource, frames: DemoBatch, episode: int
  ) -> DemoBatch:
    own = np.float32(source.facts.action_scale)
    ratio = own / np.float32(self.facts.action_scale)
    number = np.full(len(frames.proprio), episode, np.int32)
    return frames._replace(chunk=frames.chunk * ratio, episode=number)


def _shapes(source: DemoSource) -> dict[str, Any]:
  frames = source.peek().frames
  columns = frames._asdict() | dict(frames.images)
  return {
    name: None if columns[name] is None else columns[name].shape[1:]
    for name in (*frames.images, 'proprio', 'chunk', 'remaining_motion')
  }


def load_all(source: DemoSource) -> Demos:
  """Returns all episodes of a source, in memory."""
  parts = [source.read(number) for number in range(len(source.episodes))]
  return Demos(
    frames=join(parts),
    instructions=tuple(sorted({x.instruction for x in source.episodes})),
    tasks=source.tasks,
    **source.facts._asdict(),
  )


def join(parts: Sequence[DemoBatch]) -> DemoBatch:
  """Returns frames one after the other; all or none know remaining_motion."""
  images = {
    camera: np.concatenate([part.images[camera] for part in parts])
    for camera in parts[0].images
  }
  rest = (
    None if columns[0] is None else np.concatenate(columns)
    for columns in zip(*(part[1:] for part in parts), strict=True)
  )
  return DemoBatch(images, *rest)


def _find_runs(index: demo_shards.Index) -> list[tuple[list[_Run], set[str]]]:
  """Returns the rows of each episode, and its instructions."""
  runs, texts = {}, {}
  for file, episode, text in zip(
    index.files, index.episodes, index.instructions, strict=True
  ):
    for rows in np.split(
      np.arange(len(episode)), np.flatnonzero(np.diff(episode)) + 1
    ):
      if len(rows):  # a file may hold none
        number, start = int(episode[rows[0]]), int(rows[0])
        run = _Run(file, start, start + len(rows))
        runs.setdefault(number, []).append(run)
        texts.setdefault(number, set()).update(text[rows])
  return [(runs[number], texts[number]) for number in sorted(runs)]


def _read_run(run: _Run, names: Sequence[str]) -> dict[str, np.ndarray]:
  columns = {}
  with demo_files.open_shard(run.file) as shard:
    for name in names:
      columns[name] = shard.read_rows(name, run.start, run.stop)
      demo_shards.check_values(run.file, name, columns[name], run.start)
  return columns


def _only(texts: set[str], file: pathlib.Path) -> str:
  if len(texts) != 1:
    found = sorted(map(str, texts))
    raise ValueError(
      f'An episode must have one instruction: {found} in {file}.'
    )
  return str(*texts)
