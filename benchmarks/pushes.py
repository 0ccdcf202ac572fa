"""Scripted pushes of a task: where they end in MJX and in C MuJoCo.

  python -m benchmarks.pushes --task=charger --out=pushes.json

Each push of `pushes.py` in the task's folder runs in MJX, in C MuJoCo, and in C
MuJoCo with 100 solver iterations, which is converged. All three must end as
geometry says.

Expected: about two minutes on one core.
"""

import dataclasses
import importlib
from typing import Any

from absl import flags
import numpy as np

from benchmarks import out_file, task_results
from experiments import launch
from rlt_jax import tasks

_TASK = flags.DEFINE_enum('task', 'ethernet', list(tasks.SHIPPED), 'Name.')
_OUT = out_file.define_out()
_CONVERGED = 100  # solver iterations


def main() -> None:
  """Runs every push and prints its end."""
  out_file.check(_OUT.value)
  import jax

  from rlt_jax.sim.worlds import over_worlds
  from rlt_jax.tasks.insertion import pushes as pushes_lib

  folder = f'rlt_jax.tasks.{_TASK.value}'
  make = importlib.import_module(f'{folder}.task').make
  own = importlib.import_module(f'{folder}.pushes')
  table = own.PUSHES
  # A task of another kind than insertion has its own runs.
  lib = getattr(own, 'RUNS', pushes_lib)
  task = make()
  scene = importlib.import_module(f'{folder}.scene').load(task.config)
  keys = jax.random.split(jax.random.PRNGKey(0), len(table))
  state, commands = lib.line_up(
    table,
    task.compile(jax.vmap(task.reset))(keys),
    scene,
    lib.make_solve(task, scene),
  )
  converged = make(
    dataclasses.replace(task.config, solver_iterations=_CONVERGED)
  )
  step = task.compile(over_worlds(task.step))
  runs = {
    'mjx': lib.run_mjx(task, scene, state, commands, step),
    'c': lib.run_c(task, state, commands),
    'c_converged': lib.run_c(converged, state, commands),
  }
  results = {}
  for row, push in enumerate(table):
    ends = {name: _end(run, row) for name, run in runs.items()}
    results[push.name] = {'ends': push.ends, **ends}
    text = ', '.join(
      f'{name} {"in" if end["success"] else "out"} {end["depth_mm"]:.2f} mm '
      f'{end["force_n"]:.0f} N'
      for name, end in ends.items()
    )
    print(f'{push.name:28s} {push.ends:7s} {text}', flush=True)
  task_results.write(_OUT.value, task.spec.name, {'pushes': results})


def _end(run: Any, row: int) -> dict[str, Any]:
  """Returns where a push ended, and its largest force."""
  end = {
    'depth_mm': round(float(run.depth[-1, row]) * 1e3, 3),
    'success': bool(np.asarray(run.success)[row]),
    'force_n': round(float(run.force[row]), 2),
  }
  if getattr(run, 'driven', None) is not None:
    end['driven'] = {k: v[row].item() for k, v in run.driven._asdict().items()}
  if hasattr(run, 'outcome'):
    end['outcome'] = int(run.outcome[row])
  return end


if __name__ == '__main__':
  launch.run(main, saves_nothing=True)
