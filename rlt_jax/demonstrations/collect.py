"""Collects demonstrations of an expert or a policy into a folder.

The folder holds a shard of frames a batch of worlds, for VLA training, and
demos.json, how the episodes of the task's own instruction ended. Instead of
shards it may hold a LeRobot dataset.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import itertools
import os
import time
from typing import Any

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import plugins, signals
from rlt_jax.demonstrations import collection, record, stores
from rlt_jax.sim import action_space
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.sitting import spell
from rlt_jax.tasks.task import Outcome, ScriptedExpert, Task, TaskSpec

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
  format: str = 'npz'  # of the frames, one of stores.FORMATS
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
    if self.format not in stores.FORMATS:
      raise ValueError(
        f'format must be one of {stores.FORMATS}: {self.format!r}.'
      )
    if self.format != 'npz':
      self._check_lerobot()
    if self.action_mode not in action_space.MODES:
      raise ValueError(
        f'action_mode must be one of {action_space.MODES}: '
        f'{self.action_mode!r}.'
      )

  def _check_lerobot(self) -> None:
    if not self.frames:
      raise ValueError(f'format must be npz without frames: {self.format}.')
    # Its rows are single steps in rad and m.
    for name in ('action_mode', 'chunk_size', 'horizon'):
      value = getattr(self, name)
      if value != type(self).__dataclass_fields__[name].default:
        raise ValueError(
          f'{name} must be left out with the format {self.format}: {value}.'
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


def choose_prompts(instruction: np.ndarray, spec: TaskSpec) -> list[str]:
  """Returns the words of each world's instruction, [E].

  The worlds of the task's own instruction take its phrasings in turn.
  """
  own, prompts = itertools.cycle((spec.instruction, *spec.phrasings)), []
  for which in instruction:
    other = spec.other_instructions[which - 1] if which else ''
    prompts.append(other or next(own))
  return prompts


class Collector:
  """Collects the demonstrations of one task, by an expert or a policy."""

  def __init__(
    self,
    task: Task,
    expert: ScriptedExpert | record.RollOut,
    config: CollectConfig,
    space: ActionSpace | None = None,
    policy: str = '',
  ):
    """Compiles nothing.

    Args:
      task: the task.
      expert: its expert; or a policy, which hears the task's own instruction,
        so that `config.other_every` is 0.
      config: see `CollectConfig`.
      space: of the stored chunks; None measures it on the first batch.
      policy: what it is and how far it has practiced, in a sentence: a
        collection does not go on with another one. Empty for an expert.

    Raises:
      ValueError: frames of a task without cameras or without a tip, or a
        format or an expert that the settings do not fit.
    """
    if config.frames and task.render is None:
      raise ValueError(
        f'Demonstrations need a task with cameras: {task.spec.name}.'
      )
    if config.frames and config.format == 'npz' and task.tip is None:
      raise ValueError(
        f'Demonstrations need a task with a tip: {task.spec.name}.'
      )
    self._task, self._config, self._like = task, config, space
    self._policy = policy
    self._store: stores.Store = stores.NpzStore(task, config, space)
    if config.format == 'lerobot':
      if space is not None:
        raise ValueError(
          'like must be left out with the format lerobot, whose actions are in '
          'rad and m.'
        )
      self._store = stores.LerobotStore(task, config.stride)
    self._instruction = choose_instructions(
      config.worlds, config.other_every, len(task.spec.other_instructions)
    )
    self._prompts = choose_prompts(self._instruction, task.spec)
    if isinstance(expert, ScriptedExpert):
      if space is not None and space.mode != config.action_mode:
        raise ValueError(
          f'action_mode must be that of like, {space.mode}: '
          f'{config.action_mode}.'
        )
    else:
      if config.other_every:
        raise ValueError(
          f'other_every must be 0 for a policy: {config.other_every}.'
        )
      self._prompts = [task.spec.instruction] * config.worlds
      self._demonstrate = lambda key, instruction: expert(key)
      return
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
    resume: bool = False,
    command: str = '',
    report: Callable[[str], None] = lambda text: None,
  ) -> dict[str, Any]:
    """Demonstrates, renders and writes.

    Each shard is written, and then entered in demos.json, before the next one
    begins: an interrupted collection loses the shard in hand at most. What is
    collected is the same in one sitting or in several. A world that diverges is
    left out and counted.

    Args:
      folder: new or empty; with `resume` that of an interrupted collection.
      resume: make the shards that are missing.
      command: command line of this collection, for demos.json.
      report: called with a line of text for each phase and shard.

    Returns:
      The content of demos.json, see `collection.Collection`.

    Raises:
      ValueError: a folder that does not fit, or the expert never succeeded, so
        that no unit can be measured.
      OSError: the folder cannot be written.
      KeyboardInterrupt: a signal asked for the end.
    """
    kept = collection.Collection(folder, self._settings(), resume=resume)
    num = self._config.episodes // self._config.worlds
    frames, store = self._config.frames, self._store
    missing = kept.open(num, command, with_files=frames and store.has_files)
    if frames:
      store.open(kept)
    if missing:
      report(f'Compiling; then {len(missing)} of {num} shards to make.')
    began = time.monotonic()
    for done, (shard, trace) in enumerate(self._traces(missing), start=1):
      text = self._keep(kept, shard, trace)
      left = (time.monotonic() - began) * (len(missing) - done) / done
      report(f'{shard + 1} of {num}: {text}; about {spell(left)} left')
    if frames:
      store.close()
    return kept.table

  def _settings(self) -> dict[str, Any]:
    """Returns what a collection must keep when it is resumed."""
    task = {'name': self._task.spec.name}
    if dataclasses.is_dataclass(self._task.config):
      task |= dataclasses.asdict(self._task.config)
    scale = None if self._like is None else self._like.scale.tolist()
    settings = {
      'collect': dataclasses.asdict(self._config),
      'task': task,
      'like': scale,
    }
    return settings | ({'policy': self._policy} if self._policy else {})

  def _traces(
    self, shards: Sequence[int]
  ) -> Iterator[tuple[int, record.Trace]]:
    """Yields (shard, trace of its worlds) of the shards asked for."""

    def demonstrate(key):
      return jax.block_until_ready(self._demonstrate(key, self._instruction))

    key = jax.random.PRNGKey(self._config.seed)
    for shard in range(max(shards, default=-1) + 1):
      key, demonstrate_key = jax.random.split(key)
      if shard in shards:
        # Compiling and stepping would not end for a signal.
        with signals.StopRequest('at once') as stop:
          trace = stop.call(demonstrate, demonstrate_key)
        yield shard, trace

  def _keep(
    self, kept: collection.Collection, shard: int, trace: record.Trace
  ) -> str:
    """Writes a shard and its entry; returns a description."""
    finite = record.finite_worlds(trace, self._task)
    trace = record.keep_worlds(trace, finite)
    instruction = self._instruction[finite]
    prompts = list(itertools.compress(self._prompts, finite))
    own = instruction == 0
    outcome = np.asarray(trace.final.outcome)[own]
    # An episode that `steps` gave up is still running.
    outcome = np.where(outcome == Outcome.RUNNING, Outcome.TIME_OUT, outcome)
    demos = frames = 0
    if self._config.frames:
      made = self._record(trace, instruction, prompts)
      demos, frames = len(made), self._store.write(shard, made)
    diverged = int((~finite).sum())
    kept.add(
      shard,
      outcome=outcome.tolist(),
      steps=np.asarray(trace.final.steps)[own].tolist(),
      demonstrations=demos,
      diverged=diverged,
    )
    text = f'{demos} demonstrations, {frames} frames'
    if not self._config.frames:
      text = f'{len(finite)} episodes'
    return text + (f', {diverged} diverged and left out' if diverged else '')

  def _record(
    self,
    trace: record.Trace,
    instruction: np.ndarray,
    prompts: Sequence[str],
  ) -> list[record.Demo]:
    """Renders a shard; failed episodes of the task's own are left out."""
    others = self._task.spec.other_instructions
    return [
      demo
      for demo in record.record(
        trace,
        instruction,
        prompts,
        self._task,
        stride=self._config.stride,
        other_steps=self._config.other_steps,
      )
      if demo.prompt in others or demo.outcome == Outcome.SUCCESS
    ]
