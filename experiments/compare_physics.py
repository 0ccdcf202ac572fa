"""Evaluates the frozen VLA and the agent of a run in other physics.

  python -m experiments.compare_physics --workdir=runs/a --out=physics.json

Every policy runs in every world under every engine, from the same start states.
It prints a table for each world: success, steps, kinds of failures, largest
contact force and deepest overlap of bodies. Started again with the same flags,
it goes on after the last cell in `--out`.

Cost: a minute or two for each policy, world and engine on two cores.
"""

import pathlib

from absl import flags

from rlt_jax.reporting import provenance

from . import launch, resuming

_WORKDIR = launch.define_workdir('Folder of the run whose agent is evaluated.')
_ASSETS = launch.define_assets()
_ENGINES = flags.DEFINE_multi_string(
  'engine',
  ['mjx', 'mujoco task.solver_iterations=100'],
  "'mjx' or 'mujoco', then changes to settings, separated by spaces; may be "
  'repeated.',
)
_WORLDS = flags.DEFINE_multi_string(
  'world',
  ['nominal'],
  "'nominal', or changes such as task.clearance_mm=0.15; may be repeated.",
)
_EPISODES = flags.DEFINE_integer(
  'episodes', 100, 'Episodes per cell.', lower_bound=1
)
_SEED = flags.DEFINE_integer('seed', 10_000, 'Seed of the start states.')
_OUT = launch.define_path('out', None, 'JSON file to write.', required=True)


def main() -> None:
  """Runs every cell that the file has not yet, and prints the tables."""
  from rlt_jax.evaluation import evaluator, physics_study
  from rlt_jax.training import policies

  with launch.user_errors():
    worlds = [physics_study.parse_world(text) for text in _WORLDS.value]
    engines = [physics_study.parse_engine(text) for text in _ENGINES.value]
    resuming.say(physics_study.describe_cost(worlds, engines, _EPISODES.value))
    run = policies.of_run(
      pathlib.Path(_WORKDIR.value), _ASSETS.value, _SEED.value
    )
    table = physics_study.Table(
      pathlib.Path(_OUT.value),
      head={
        'episodes': _EPISODES.value,
        'seed': _SEED.value,
        'policy': run.about,
        'command': launch.command_line(),
      },
    )
    physics_study.run(
      lambda world, engine: policies.in_physics(
        run.config, _ASSETS.value, _SEED.value, world, engine
      ),
      {
        'frozen VLA': evaluator.base_policy(run.config.open_loop_steps),
        'agent': run.policies['mean'],
      },
      worlds,
      engines,
      _EPISODES.value,
      table,
      provenance.commit(),
    )
  print(table.markdown(run.spec.outcomes))


if __name__ == '__main__':
  launch.run(main)
