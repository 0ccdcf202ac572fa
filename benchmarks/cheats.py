"""Success of policies that cheat or search blindly on a task.

  python -m benchmarks.cheats --task=ethernet --out=cheats.json

Each policy of `cheats.py` in the task's folder runs from the same start states.
None may have more success than its `most`, nor an honest push less than its
`least`: the command says which has, and exits with 1. The blind spiral shows
what a search without sight reaches.

Expected: about 5 minutes on one core.
"""

import importlib

from absl import flags
import numpy as np

from benchmarks import out_file, task_results
from experiments import launch
from rlt_jax import tasks

_TASK = flags.DEFINE_enum('task', 'ethernet', list(tasks.SHIPPED), 'Name.')
_EPISODES = flags.DEFINE_integer(
  'episodes', 100, 'Start states of each policy.', lower_bound=1
)
_SEED = flags.DEFINE_integer('seed', 20_000, 'Seed of the start states.')
_OUT = out_file.define_out()


def main() -> None:
  """Runs every cheat and prints its success."""
  out_file.check(_OUT.value)
  import jax

  from rlt_jax.reporting import statistics
  from rlt_jax.tasks.insertion import cheats

  folder = f'rlt_jax.tasks.{_TASK.value}'
  task = importlib.import_module(f'{folder}.task').make()
  scene = importlib.import_module(f'{folder}.scene').load(task.config)
  own = importlib.import_module(f'{folder}.cheats')
  table = own.CHEATS
  count = _EPISODES.value
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.PRNGKey(_SEED.value), np.arange(count)
  )
  starts = task.compile(jax.vmap(task.reset))(keys)
  # A task of another kind than insertion has its own driver.
  driver, results = getattr(own, 'Driver', cheats.Driver)(task, scene), {}
  broken = []
  for cheat in table:
    final = driver.run([cheat] * count, starts)
    wins = round(cheats.success_rate(final) * count)
    low, high = statistics.wilson(wins, count)
    bounds = f'at least {cheat.least}, at most {cheat.most}'
    print(
      f'{cheat.name:48s} {wins / count:.2f} ({low:.2f}-{high:.2f}), {bounds}',
      flush=True,
    )
    if not cheat.least <= wins / count <= cheat.most:
      broken.append(f'{cheat.name}: {wins / count:.2f}, {bounds}')
    results[cheat.name] = {
      'most': cheat.most,
      'outcome': np.asarray(final.outcome).tolist(),
      'steps': np.asarray(final.steps).tolist(),
    }
  figures = {'episodes': count, 'seed': _SEED.value, 'cheats': results}
  task_results.write(_OUT.value, task.spec.name, figures)
  if broken:
    raise SystemExit('\n'.join(['error: Success out of bounds:', *broken]))


if __name__ == '__main__':
  launch.run(main, saves_nothing=True)
