"""Evaluates the frozen VLA, or the agent of a run, on fixed start states.

  python -m experiments.evaluate --horizons=10,20,50
  python -m experiments.evaluate --workdir=runs/a --seed=7 --episodes=200

Without a workdir it evaluates the VLA alone, run open loop for each of
`--horizons` of the steps of its chunk. With one it evaluates the agent of the
newest checkpoint, without and with exploration. `--out` keeps outcome and
length of every episode.
"""

import json
import pathlib

from absl import flags

from experiments import launch
from rlt_jax.reporting import statistics
from rlt_jax.training import policies

_WORKDIR = launch.define_workdir('Run to evaluate.', required=False)
_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_HORIZONS = flags.DEFINE_list(
  'horizons', ['20'], 'Steps of a chunk that the VLA alone runs.'
)
_EPISODES = flags.DEFINE_integer('episodes', 100, 'Number of start states.')
_SEED = flags.DEFINE_integer('seed', 10_000, 'Of the start states.')
_OUT = flags.DEFINE_string('out', '', 'JSON file to write.')


def main() -> None:
  """Runs each policy and prints a line for it."""
  with launch.user_errors():
    if _WORKDIR.value and (given := _SETTINGS.given()):
      raise ValueError(f'A run has its own settings; remove the flags {given}.')
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
  table = {}
  for name, policy in evaluation.policies.items():
    episodes, _ = evaluation.evaluator.run(policy, _EPISODES.value)
    text = statistics.describe(episodes, evaluation.control_hz)
    print(f'{name}: {text}', flush=True)
    table[name] = statistics.to_plain(episodes)
  if _OUT.value:
    pathlib.Path(_OUT.value).write_text(json.dumps(table) + '\n')


if __name__ == '__main__':
  launch.run(main)
