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

from absl import flags

from . import collecting, launch, launch_help

_COLLECT = collecting.define_collect('data/demos/a')
_TASK = launch.define_task()
list_settings = launch_help.of_expert(_TASK)
_EXPERT = flags.DEFINE_multi_string('expert', [], "Sets the task's expert.")
_LIKE = launch.define_path(
  'like', '', 'Demonstrations to take the action unit from.'
)
# Named as the fields of CollectConfig.
_MORE = (
  flags.DEFINE_integer('other_every', 11, 'One in n has another prompt; 0: no'),
  flags.DEFINE_integer('other_steps', 90, 'Control steps of such an episode.'),
  flags.DEFINE_bool('frames', True, 'Write frames beside demos.json.'),
  flags.DEFINE_string('action_mode', 'offset', "'offset' or 'increment'."),
  flags.DEFINE_integer('chunk_size', 10, 'Steps C that set the action unit.'),
)


def main() -> None:
  """Collects demonstrations and prints how the episodes ended."""
  from rlt_jax import tasks
  from rlt_jax.demonstrations import collect, writer

  with launch.user_errors():
    _COLLECT.begin()
    task = tasks.load(_TASK.task.value, _TASK.make_config())
    more = {flag.name: flag.value for flag in _MORE}
    collector = collect.Collector(
      task,
      collect.make_expert(task, _EXPERT.value),
      collect.CollectConfig(**_COLLECT.fields(), **more),
      writer.load_space(_LIKE.value) if _LIKE.value else None,
    )
    _COLLECT.collect(collector, task.spec)


if __name__ == '__main__':
  launch.run(main)
