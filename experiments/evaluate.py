"""Evaluates the frozen VLA, or the agent of a run, on fixed start states.

  python -m experiments.evaluate --horizons=10,20,50
  python -m experiments.evaluate --workdir=runs/a --seed=7 --episodes=200
  python -m experiments.evaluate --instruction='lift the plug away'

Without --workdir it evaluates the VLA alone, for each value of --horizons. With
--workdir it evaluates the agent of the newest checkpoint, without and with
exploration noise, and writes nothing into the run. Every policy has the start
states of the seed. It prints success with its 95 % interval, the median steps
of a success, and successes per 10 minutes. --out stores all episodes.

Cost: about half a minute for 100 episodes of a policy on two cores, and a
minute of compiling where nothing is cached.
"""

import json
import pathlib

from absl import flags

from . import launch, resuming

_WORKDIR = launch.define_workdir(
  'Folder of the run to evaluate; empty evaluates the VLA alone.',
  required=False,
)
_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_HORIZONS = flags.DEFINE_list(
  'horizons', ['20'], 'Control steps to run of a chunk; each is one policy.'
)
launch.require_integers('horizons', minimum=1)
_INSTRUCTIONS = flags.DEFINE_multi_string(
  'instruction', [], "Another instruction to try after the task's; repeatable."
)
_EPISODES = flags.DEFINE_integer(
  'episodes', 100, 'Episodes per policy.', lower_bound=1
)
_SEED = flags.DEFINE_integer('seed', 10_000, 'Seed of the start states.')
_OUT = launch.define_path('out', '', 'JSON file to write; empty writes none.')


def main() -> None:
  """Runs each policy and prints its result."""
  from rlt_jax import files
  from rlt_jax.reporting import statistics
  from rlt_jax.training import policies

  with launch.user_errors():
    if _OUT.value:
      files.check_writable(_OUT.value)
    launch.check_own_settings(_WORKDIR, _SETTINGS, _HORIZONS)
    resuming.say(policies.describe_cost(_EPISODES.value))
    if _WORKDIR.value:
      evaluation = policies.of_run(
        pathlib.Path(_WORKDIR.value), _ASSETS.value, _SEED.value
      )
    else:
      evaluation = policies.of_base(
        _SETTINGS.make_config(),
        [int(horizon) for horizon in _HORIZONS.value],
        _ASSETS.value,
        _SEED.value,
      )
    trials = evaluation.trials(_INSTRUCTIONS.value)
  table = {}
  for label, name, instruction in trials:
    episodes = evaluation.run(name, _EPISODES.value, instruction)
    text = statistics.describe(episodes, evaluation.spec.control_hz)
    print(f'{label}: {text}', flush=True)
    table[label] = {'instruction': instruction} | statistics.to_plain(episodes)
  print(evaluation.about)
  if _OUT.value:
    files.write_atomically(_OUT.value, json.dumps(table) + '\n')


if __name__ == '__main__':
  launch.run(main)
