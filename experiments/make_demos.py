"""Makes demonstrations with a task's scripted expert, for a VLA to learn from.

  python -m experiments.make_demos --out=data/demos/a --seed=1
  python -m experiments.make_demos --out=data/demos/b --like=data/demos/a

Failures get no frames, but demos.json counts them. Many short episodes are
better than few long ones. `--set=task.clearance_mm=0.15` changes the task,
`--expert=aim_error_mm=1.8` the expert: larger errors show stuck plugs and how
to free them. `--out=FOLDER --resume` goes on. `--format=lerobot --stride=2`
writes a LeRobot dataset of 25 rows a second.

Cost: about 6 minutes on one core (0.7 GB, not committed).
"""

import pathlib

from absl import flags

from . import launch, launch_help, resuming

_OUT = launch.define_path('out', 'data/demos/a', 'New folder to write.')
_RESUME = launch.define_resume()
_TASK = launch.define_task()
list_settings = launch_help.of_expert(_TASK)
_EXPERT = flags.DEFINE_multi_string('expert', [], "Sets the task's expert.")
_LIKE = launch.define_path(
  'like', '', 'Demonstrations to take the action unit from.'
)
# Named as the fields of CollectConfig.
_COLLECT = (
  flags.DEFINE_integer('episodes', 704, 'Episodes, a multiple of --worlds.'),
  flags.DEFINE_integer('worlds', 64, 'Episodes simulated at a time.'),
  flags.DEFINE_integer('other_every', 11, 'One in n has another prompt; 0: no'),
  flags.DEFINE_integer('other_steps', 90, 'Control steps of such an episode.'),
  flags.DEFINE_integer(
    'steps', None, "Control steps of an episode; the task's limit if unset."
  ),
  flags.DEFINE_integer('stride', 6, 'Control steps between frames.'),
  flags.DEFINE_string('format', 'npz', "'npz' or 'lerobot'."),
  flags.DEFINE_integer('seed', 0, 'Seed of every draw.'),
  flags.DEFINE_bool('frames', True, 'Write frames beside demos.json.'),
  flags.DEFINE_string('action_mode', 'offset', "'offset' or 'increment'."),
  flags.DEFINE_integer('chunk_size', 10, 'Steps C that set the action unit.'),
  flags.DEFINE_integer('horizon', 50, 'Control steps H of a stored chunk.'),
)


def main() -> None:
  """Collects demonstrations and prints how the episodes ended."""
  from rlt_jax import lock, tasks
  from rlt_jax.demonstrations import collect, collection, writer
  from rlt_jax.reporting import statistics

  folder = pathlib.Path(_OUT.value).expanduser()
  with launch.user_errors():
    if _RESUME.value:
      resuming.recall(collection.first_command(folder))
    else:
      collection.check_new(folder)
    task = tasks.load(_TASK.task.value, _TASK.make_config())
    collector = collect.Collector(
      task,
      collect.make_expert(task, _EXPERT.value),
      collect.CollectConfig(**{flag.name: flag.value for flag in _COLLECT}),
      writer.load_space(_LIKE.value) if _LIKE.value else None,
    )
    held = lock.hold_folder(folder, '--out', print)
    with held, launch.resumable(lambda: True):
      table = collector.run(
        folder,
        resume=_RESUME.value,
        command=launch.command_line(),
        report=resuming.say,
      )
  episodes = statistics.from_plain(table)
  print(statistics.describe(episodes, task.spec.control_hz))


if __name__ == '__main__':
  launch.run(main)
