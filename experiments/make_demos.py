"""Makes demonstrations with a task's scripted expert, for a VLA to learn from.

  python -m experiments.make_demos --out=data/demos/a --seed=1
  python -m experiments.make_demos --out=data/demos/b --seed=2 \
      --like=data/demos/a

Failed episodes get no frames but are counted in demos.json. Many episodes with
few frames each are better than few episodes with many, since start and socket
differ between episodes only. `--set=task.clearance_mm=0.15` changes the task,
`--expert=aim_error_mm=1.8` the expert: with a larger aiming error the
demonstrations contain stuck plugs and how to free them.

Expected: about 6 minutes on one core (0.7 GB, not committed).
"""

from absl import flags

from experiments import launch
from rlt_jax import tasks
from rlt_jax.demonstrations import collect, writer
from rlt_jax.demonstrations.collect import CollectConfig
from rlt_jax.reporting import statistics
from rlt_jax.sim.action_space import MODES

_OUT = flags.DEFINE_string(
  'out', 'data/demos/a', 'New folder for the demonstrations.'
)
_TASK = launch.define_task()
_EXPERT = flags.DEFINE_multi_string(
  'expert', [], "field=value of the expert's settings; may be repeated."
)
_LIKE = flags.DEFINE_string(
  'like', '', 'Folder of demonstrations to take the action unit from.'
)
# Named as the fields of CollectConfig.
_COLLECT = (
  flags.DEFINE_integer('episodes', 704, 'Episodes, a multiple of --worlds.'),
  flags.DEFINE_integer('worlds', 64, 'Episodes simulated at a time.'),
  flags.DEFINE_integer(
    'other_every', 11, 'Every n-th episode has another instruction; 0: none.'
  ),
  flags.DEFINE_integer('other_steps', 90, 'Control steps of such an episode.'),
  flags.DEFINE_integer(
    'steps', None, "Control steps of an episode; the task's limit if unset."
  ),
  flags.DEFINE_integer('stride', 6, 'Control steps between frames.'),
  flags.DEFINE_integer('seed', 0, 'Seed of every draw.'),
  flags.DEFINE_bool('frames', True, 'Write frames beside demos.json.'),
  flags.DEFINE_enum('action_mode', 'offset', MODES, 'Meaning of an action.'),
  flags.DEFINE_integer('chunk_size', 10, 'Steps C that set the action unit.'),
  flags.DEFINE_integer('horizon', 50, 'Control steps H of a stored chunk.'),
)


def main() -> None:
  """Collects demonstrations and prints how the episodes ended."""
  with launch.user_errors():
    task = tasks.load(_TASK.task.value, _TASK.make_config())
    collector = collect.Collector(
      task,
      collect.make_expert(task, _EXPERT.value),
      CollectConfig(**{flag.name: flag.value for flag in _COLLECT}),
      writer.load_space(_LIKE.value) if _LIKE.value else None,
    )
    table = collector.run(
      _OUT.value,
      command=launch.command_line(),
      report=lambda text: print(text, flush=True),
    )
  episodes = statistics.from_plain(table)
  print(statistics.describe(episodes, task.spec.control_hz))


if __name__ == '__main__':
  launch.run(main)
