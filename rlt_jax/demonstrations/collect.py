"""Collects demonstrations of a task's scripted expert into a folder.

The folder holds a shard of frames a batch of worlds, for VLA training, and
demos.json, how the episodes of the task's own instruction ended.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import plugins
from rlt_jax.demonstrations import record, writer
from rlt_jax.sim import action_space
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import Outcome, ScriptedExpert, Task

_COUNTS = ('episodes', 'worlds', 'other_steps', 'stride', 'chunk_size')


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectConfig:
  """Settings of a collection of demonstrations."""

  episodes: int = 704  # a multiple of worlds
  worlds: int = 64  # episodes at a time; their frames are one shard
  # Every n-th episode follows another instruction than the task's, so that the
  # prompt carries information; 0 is none.
  other_every: int = 11
  other_steps: int = 90  # where such an episode is cut: no success ends it
  steps: int | None = None  # gives up an episode; None is the task's limit
  stride: int = 6  # control steps between stored frames
  frames: bool = True  # False writes demos.json alone
  action_mode: str = 'offset'  # of action_space.MODES
  chunk_size: int = 10  # C, whose deviation is the action unit
  horizon: int = 50  # H, steps of a stored chunk
  seed: int = 0

  def __post_init__(self):
    for name in _COUNTS:
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    if self.episodes % self.worlds:
      raise ValueError(
        f'episodes must be a multiple of worlds {self.worlds}: {self.episodes}.'
      )
    if self.other_every < 0:
      raise ValueError(f'other_every must not be negative: {self.other_every}.')
    if self.steps is not None and self.steps < 1:
      raise ValueError(f'steps must be at least 1: {self.steps}.')
    if self.horizon < self.chunk_size:
      raise ValueError(
        f'horizon must be at least chunk_size {self.chunk_size}: '
        f'{self.horizon}.'
      )
    if self.action_mode not in action_space.MODES:
      raise ValueError(
        f'action_mode must be one of {action_space.MODES}: '
        f'{self.action_mode!r}.'
      )


def make_expert(task: Task, assignments: Sequence[str] = ()) -> ScriptedExpert:
  """Returns a task's expert with changed settings.

  Args:
    task: with an expert.
    assignments: 'field=value' of the config that `task.make_expert` annotates.

  Raises:
    ValueError: a task without an expert, an expert without settings, or a
      setting that does not exist or does not fit.
  """
  if task.make_expert is None:
    raise ValueError(
      f'Demonstrations need a task with make_expert: {task.spec.name}.'
    )
  if not assignments:
    return task.make_expert(None)
  cls = plugins.config_class(task.make_expert, 'An expert')
  if cls is None:
    raise ValueError(
      f'The expert of task {task.spec.name} must have a parameter config to '
      f'be given settings: {list(assignments)}.'
    )
  return task.make_expert(config_lib.override(cls(), assignments))


def choose_instructions(num: int, every: int, num_others: int) -> np.ndarray:
  """Returns the instruction int32 [num] of each world, 0 the task's own.

  Args:
    num: of worlds.
    every: every n-th world has another instruction; 0 is none.
    num_others: number of other instructions, used in turn.

  Raises:
    ValueError: no world would have the task's own instruction.
  """
  world = np.arange(num)
  if not every or not num_others:
    return np.zeros(num, np.int32)
  other = world % every == 0
  if other.all():
    raise ValueError(
      'other_every must leave a world for the task itself: '
      f'{every} with {num} worlds.'
    )
  turn = 1 + world // every % num_others
  return np.where(other, turn, 0).astype(np.int32)


class Collector:
  """Collects the demonstrations of one task and expert."""

  def __init__(
    self,
    task: Task,
    expert: ScriptedExpert,
    config: CollectConfig,
    space: ActionSpace | None = None,
  ):
    """Compiles nothing.

    Args:
      task, expert: the task and its expert.
      config: see `CollectConfig`.
      space: of the stored chunks; None measures it on the first batch.

    Raises:
      ValueError: frames of a task without cameras or without a tip.
    """
    if config.frames and task.render is None:
      raise ValueError(
        f'Demonstrations need a task with cameras: {task.spec.name}.'
      )
    if config.frames and task.tip is None:
      raise ValueError(
        f'Demonstrations need a task with a tip: {task.spec.name}.'
      )
    self._task, self._config, self._space = task, config, space
    self._instruction = choose_instructions(
      config.worlds, config.other_every, len(task.spec.other_instructions)
    )
    self._demonstrate = task.compile(
      functools.partial(
        record.demonstrate,
        task=task,
        expert=expert,
        steps=config.steps or task.spec.time_limit,
      )
    )

  def run(
    self,
    folder: str | os.PathLike[str],
    *,
    command: str = '',
    report: Callable[[str], None] = lambda text: None,
  ) -> dict[str, Any]:
    """Demonstrates, renders and writes.

    Args:
      folder: new; receives the files.
      command: command line of this collection, for demos.json.
      report: called with a line of text for each shard.

    Returns:
      The content of demos.json: 'outcome' and 'steps' of every episode of the
      task's own instruction, lists in order, and 'command'.

    Raises:
      OSError: the folder exists.
      ValueError: the expert never succeeded, so that no unit can be measured.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    table = {'outcome': [], 'steps': [], 'command': command}
    count = 0
    for shard, trace in enumerate(self._traces()):
      own = self._instruction == 0
      outcome = np.asarray(trace.final.outcome)[own]
      # An episode that `steps` gave up is still running.
      outcome = np.where(outcome == Outcome.RUNNING, Outcome.TIME_OUT, outcome)
      table['outcome'] += outcome.tolist()
      table['steps'] += np.asarray(trace.final.steps)[own].tolist()
      if self._config.frames:
        path = folder / f'shard_{shard:03d}.npz'
        demos, frames = self._write(path, trace, first=count)
        count += demos
        report(f'shard {shard}: {demos} episodes, {frames} frames')
    (folder / 'demos.json').write_text(json.dumps(table) + '\n')
    return table

  def _traces(self) -> Iterator[record.Trace]:
    key = jax.random.PRNGKey(self._config.seed)
    for _ in range(self._config.episodes // self._config.worlds):
      key, demonstrate_key = jax.random.split(key)
      yield self._demonstrate(demonstrate_key, self._instruction)

  def _write(
    self, path: pathlib.Path, trace: record.Trace, first: int
  ) -> tuple[int, int]:
    """Writes a shard; returns its numbers of episodes and of frames.

    Failed episodes of the task's own instruction are left out.
    """
    task, config = self._task, self._config
    demos = [
      demo
      for demo in record.record(
        trace,
        self._instruction,
        task,
        stride=config.stride,
        other_steps=config.other_steps,
      )
      if demo.prompt != task.spec.instruction or demo.outcome == Outcome.SUCCESS
    ]
    if self._space is None:
      self._space = writer.measure_unit(
        demos,
        task.spec.instruction,
        chunk_size=config.chunk_size,
        mode=config.action_mode,
      )
    if not demos:
      return 0, 0
    columns = writer.to_columns(
      demos,
      self._space,
      first=first,
      horizon=config.horizon,
      remaining_motion=self._remaining_motion,
    )
    writer.save_shard(
      path,
      columns,
      self._space,
      joint_names=task.spec.joint_names,
      control_hz=task.spec.control_hz,
    )
    return len(demos), len(columns['episode'])

  @functools.cached_property
  def _remaining_motion(self) -> Callable[..., jax.Array]:
    """Returns (poses [F, A], final pose [A]) -> [F, 6], compiled."""
    function = self._task.tip.remaining_motion
    return jax.jit(jax.vmap(function, in_axes=(0, None)))
