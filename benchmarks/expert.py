"""Success of a task's scripted operator under C MuJoCo.

  python -m benchmarks.expert --task=screw --out=expert.json
  python -m benchmarks.expert --task=screw --expert=aim_error_mm=1.0

Quicker than `experiments.make_demos --noframes`, which compiles the step of
MJX; the operator and its settings are the same.

Expected: about a minute on one core.
"""

from typing import TYPE_CHECKING

from absl import flags
import numpy as np

from benchmarks import out_file, task_results
from experiments import launch
from rlt_jax import config as config_lib
from rlt_jax import tasks
from rlt_jax.tasks.task import Outcome, Task

if TYPE_CHECKING:
  from rlt_jax.types import PRNGKey

_TASK = flags.DEFINE_enum('task', 'ethernet', list(tasks.SHIPPED), 'Name.')
_EXPERT = flags.DEFINE_multi_string('expert', [], "Sets the task's expert.")
_EPISODES = flags.DEFINE_integer('episodes', 60, 'Episodes.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 77, 'Seed of every draw.')
_OUT = out_file.define_out()


def run(task: Task, config, key: 'PRNGKey', count: int) -> np.ndarray:
  """Returns outcome and control steps [count, 2] of episodes.

  Args:
    task: with an expert and a bench.
    config: of the expert.
    key: of every draw; consumed.
    count: episodes.
  """
  import jax

  expert, keys = task.make_expert(config), jax.random.split(key, 3)
  starts = task.compile(jax.vmap(task.reset))(jax.random.split(keys[0], count))
  begin = task.compile(jax.vmap(lambda key, state: expert.begin(key, state, 0)))
  act = task.compile(jax.vmap(expert.act))
  memory = begin(jax.random.split(keys[1], count), starts)
  states = jax.tree.map(np.array, starts)
  benches = [task.make_bench() for _ in range(count)]
  for row, bench in enumerate(benches):
    bench.place(jax.tree.map(lambda x: x[row], states))  # noqa: B023
  period = round(1 / task.spec.control_hz / benches[0].timestep)
  for step in range(task.spec.time_limit):
    going = [
      row
      for row, bench in enumerate(benches)
      if bench.outcome() == Outcome.RUNNING
    ]
    if not going:
      break
    draws = jax.random.split(jax.random.fold_in(keys[2], step), count)
    memory, commands = act(draws, memory, states)
    commands = np.asarray(commands, np.float64)
    for row in going:
      benches[row].set_targets(commands[row])
      for _ in range(period):
        benches[row].step()
      jax.tree.map(
        lambda many, one: many.__setitem__(row, one[0]),  # noqa: B023
        states,
        benches[row].world(),
      )
  outcomes = [bench.outcome() for bench in benches]
  return np.stack([outcomes, states.steps], axis=1)


def main() -> None:
  """Runs the operator and prints its success."""
  out_file.check(_OUT.value)
  import jax

  from rlt_jax.reporting import statistics

  with launch.user_errors():
    task = tasks.load(_TASK.value)
    config = config_lib.override(
      tasks.expert_config_class(_TASK.value)(), _EXPERT.value
    )
  key, count = jax.random.PRNGKey(_SEED.value), _EPISODES.value
  outcome, steps = run(task, config, key, count).T
  wins = outcome == Outcome.SUCCESS
  low, high = statistics.wilson(int(wins.sum()), count)
  quartiles = np.percentile(steps[wins], [25, 50, 75]) if wins.any() else []
  print(
    f'success {wins.mean():.2f} ({low:.2f}-{high:.2f}) of {count}, steps of '
    f'successes by quartile {[float(x) for x in quartiles]}'
  )
  figures = {'outcome': outcome.tolist(), 'steps': steps.tolist()}
  task_results.write(_OUT.value, task.spec.name, figures)


if __name__ == '__main__':
  launch.run(main, saves_nothing=True)
