"""Evaluates the frozen VLA, or the agent of a run, on fixed start states.

  python -m experiments.evaluate --horizons=10,20,50
  python -m experiments.evaluate --workdir=runs/a --seed=7 --episodes=200

Without --workdir it evaluates the VLA alone, once for each value of
`--horizons`. With --workdir it evaluates the agent of the newest checkpoint,
without and with exploration noise. `--out` stores outcome and length of every
episode.
"""

import json
import pathlib

from absl import flags

from experiments import launch
from rlt_jax.reporting import statistics
from rlt_jax.training import policies

_WORKDIR = launch.define_workdir(
  'Folder of the run to evaluate; empty evaluates the VLA alone.',
  required=False,
)
_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_HORIZONS = flags.DEFINE_list(
  'horizons',
  ['20'],
  'Control steps of a chunk to run before the next VLA query; each value is '
  'one policy.',
)
launch.require_integers('horizons', minimum=1)
_EPISODES = flags.DEFINE_integer(
  'episodes', 100, 'Episodes per policy.', lower_bound=1
)
_SEED = flags.DEFINE_integer('seed', 10_000, 'Seed of the start states.')
_OUT = flags.DEFINE_string('out', '', 'JSON file to write; empty writes none.')


def main() -> None:
  """Runs each policy and prints its result."""
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
