"""Flags and steps of the experiments that collect demonstrations."""

import pathlib
from typing import Any, NamedTuple, TYPE_CHECKING

from absl import flags

from . import launch, resuming

if TYPE_CHECKING:
  from rlt_jax.demonstrations.collect import Collector
  from rlt_jax.tasks.task import TaskSpec

# The flags count as those of the experiment, so that its --help shows them.
flags.disclaim_key_flags()


class CollectFlags(NamedTuple):
  """Where a collection goes, and its settings.

  settings: named as the fields of `CollectConfig`.
  """

  out: flags.FlagHolder[str]
  resume: flags.FlagHolder[bool]
  settings: tuple[flags.FlagHolder[Any], ...]

  def folder(self) -> pathlib.Path:
    """Returns the folder to write."""
    return pathlib.Path(self.out.value).expanduser()

  def begin(self) -> None:
    """Refuses a folder in use; a collection that goes on takes its flags."""
    from rlt_jax.demonstrations import collection

    if self.resume.value:
      resuming.recall(collection.first_command(self.folder()))
    else:
      collection.check_new(self.folder())

  def fields(self) -> dict[str, Any]:
    """Returns the settings."""
    return {flag.name: flag.value for flag in self.settings}

  def collect(self, collector: 'Collector', spec: 'TaskSpec') -> None:
    """Collects, and prints how the episodes ended."""
    from rlt_jax import lock
    from rlt_jax.reporting import statistics

    held = lock.hold_folder(self.folder(), '--out', print)
    with held, launch.resumable(lambda: True):
      table = collector.run(
        self.folder(),
        resume=self.resume.value,
        command=launch.command_line(),
        report=resuming.say,
      )
    episodes = statistics.from_plain(table)
    print(statistics.describe(episodes, spec.control_hz))


def define_collect(out: str) -> CollectFlags:
  """Defines --out, --resume and settings that every collection has."""
  return CollectFlags(
    launch.define_path('out', out, 'New folder to write.'),
    launch.define_resume(),
    (
      flags.DEFINE_integer(
        'episodes', 704, 'Episodes, a multiple of --worlds.'
      ),
      flags.DEFINE_integer('worlds', 64, 'Episodes simulated at a time.'),
      flags.DEFINE_integer(
        'steps', None, "Control steps of an episode; the task's limit if unset."
      ),
      flags.DEFINE_integer('stride', 6, 'Control steps between frames.'),
      flags.DEFINE_string('format', 'npz', "'npz' or 'lerobot'."),
      flags.DEFINE_integer('seed', 0, 'Seed of every draw.'),
      flags.DEFINE_integer('horizon', 50, 'Control steps H of a stored chunk.'),
    ),
  )
