"""Where collected demonstrations go: .npz shards, or a LeRobot dataset."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from rlt_jax.datasets.lerobot import episodes
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.writer import Writer
from rlt_jax.demo_files import TaskFacts
from rlt_jax.demonstrations import writer
from rlt_jax.demonstrations.collection import Collection
from rlt_jax.demonstrations.record import Demo
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import Outcome, Task

FORMATS = ('npz', 'lerobot')


class Store(Protocol):
  """Keeps demonstrations, a shard after the other.

  has_files: whether every shard is a file of its own.
  """

  has_files: bool

  def open(self, kept: Collection) -> None:
    """Begins, or goes on, with the shards of a collection that is open."""

  def write(self, shard: int, demos: Sequence[Demo]) -> int:
    """Keeps the demonstrations of a shard; returns their number of frames."""

  def close(self) -> None:
    """Completes what is kept, after the last shard."""


def remaining_motion(task: Task) -> Callable[..., jax.Array] | None:
  """Returns (poses [F, A], final pose [A]) -> [F, 6]; None without a tip."""
  if task.tip is None:
    return None
  return jax.jit(jax.vmap(task.tip.remaining_motion, in_axes=(0, None)))


class NpzStore:
  """Writes the .npz files that `vlas.demos` reads."""

  has_files = True

  def __init__(self, task: Task, config: Any, space: ActionSpace | None):
    """Takes the task, a `CollectConfig` and the space of the stored chunks.

    Without a space the first demonstrations measure it.
    """
    self._task, self._config, self.space = task, config, space
    self._remaining_motion = remaining_motion(task)
    self._kept: Collection | None = None

  def open(self, kept: Collection) -> None:
    """See `Store`."""
    self._kept = kept
    if self.space is None and kept.has_frames():
      self.space = writer.load_space(kept.folder)

  def write(self, shard: int, demos: Sequence[Demo]) -> int:
    """See `Store`.

    Raises:
      ValueError: no demonstration to measure the unit on.
    """
    spec, config, kept = self._task.spec, self._config, self._kept
    if self.space is None:
      self.space = writer.measure_unit(
        demos,
        (spec.instruction, *spec.phrasings),
        chunk_size=config.chunk_size,
        mode=config.action_mode,
      )
    if not demos:
      return 0
    columns = writer.to_columns(
      demos,
      self.space,
      first=kept.count_before(shard),
      horizon=config.horizon,
      control_hz=spec.control_hz,
      remaining_motion=self._remaining_motion,
    )
    writer.save_shard(
      kept.shard_file(shard),
      columns,
      self.space,
      joint_names=spec.joint_names,
      control_hz=spec.control_hz,
      task=TaskFacts(**{x: getattr(spec, x) for x in TaskFacts._fields}),
    )
    return len(columns['episode'])

  def close(self) -> None:
    """See `Store`."""


class LerobotStore:
  """Writes a LeRobot dataset, its pictures lossless.

  A row is a rendered step: its action is the command of that step, and those of
  the steps between two rows are not kept.
  """

  has_files = False

  def __init__(self, task: Task, stride: int):
    """Takes the task and the control steps from one row to the next.

    Raises:
      ValueError: a stride that gives no whole number of frames a second.
    """
    spec = task.spec
    self._fps = spec.control_hz / stride
    if self._fps != int(self._fps):
      raise ValueError(
        f'stride must divide {spec.control_hz:g} control steps a second into '
        f'whole frames for the format lerobot: {stride} gives '
        f'{self._fps:.2f} a second. Every control step is --stride=1.'
      )
    self._spec, self._writer = spec, None
    self._remaining_motion = remaining_motion(task)
    self._has_velocities = (
      spec.proprio_has_joints and len(spec.proprio_names) == 2 * spec.action_dim
    )

  def open(self, kept: Collection) -> None:
    """See `Store`.

    Raises:
      ValueError: the dataset lacks episodes of the collection.
    """
    spec = self._spec
    size = spec.image_size, spec.image_size
    self._writer = Writer(
      kept.folder,
      episodes.make_features(
        spec.joint_names,
        dict.fromkeys(spec.cameras, size),
        velocities=self._has_velocities,
        sources=False,
        remaining_motion=self._remaining_motion is not None,
      ),
      fps=self._fps,
      robot_type=spec.name,
      resume=(kept.folder / format_lib.INFO_PATH).exists(),
    )
    # Those of a shard that was cut short are made again.
    count = sum(kept.table['shards'])
    self._writer.truncate(count)
    if self._writer.num_episodes < count:
      raise ValueError(
        f'The dataset in {kept.folder} must have the {count} episodes of its '
        f'collection: {self._writer.num_episodes}. Begin anew in a new folder.'
      )

  def write(self, shard: int, demos: Sequence[Demo]) -> int:
    """See `Store`."""
    del shard
    for demo in demos:
      with self._writer.episode(
        demo.prompt, outcome=self._spec.outcomes[demo.outcome]
      ) as episode:
        for frame in self._frames(demo):
          episode.add(frame)
    return sum(len(demo.frame_steps) for demo in demos)

  def close(self) -> None:
    """See `Store`."""
    self._writer.close()

  def _frames(self, demo: Demo) -> Iterator[dict[str, Any]]:
    steps = demo.frame_steps
    columns = {
      format_lib.STATE: demo.joints[steps],
      format_lib.ACTION: demo.commands[steps],
    } | {
      format_lib.CAMERA_PREFIX + name: np.asarray(images)
      for name, images in demo.images.items()
    }
    if self._has_velocities:
      columns[format_lib.JOINT_VELOCITY] = demo.proprio[
        steps, self._spec.action_dim :
      ]
    if self._remaining_motion is not None:
      columns[episodes.REMAINING_MOTION] = np.asarray(
        self._remaining_motion(demo.joints[steps], demo.final_pose)
      )
    success = demo.outcome == Outcome.SUCCESS
    ends = episodes.end_columns(len(steps), success=success, terminated=success)
    for frame, end in enumerate(ends):
      yield {name: column[frame] for name, column in columns.items()} | end
