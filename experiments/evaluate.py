"""Evaluates the frozen VLA, or the actor of a run, on fixed start states.

  python -m experiments.evaluate --horizons=10,20,50
  python -m experiments.evaluate --workdir=runs/a --seed=7 --episodes=200

Without a workdir it is the VLA alone, run open loop for each of `--horizons`
of its 50 steps. With one it is the newest checkpoint's actor, its mean and the
policy it explored with. `--out` keeps every episode's outcome and length.
"""

import dataclasses
import json
import pathlib

from absl import app, flags

from rlt_jax import config as config_lib
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting import statistics
from rlt_jax.training import assets, practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig

_WORKDIR = flags.DEFINE_string('workdir', '', 'Run whose actor to evaluate.')
_ASSETS = flags.DEFINE_string('assets', '', 'Folder with vla/ and token/.')
_HORIZONS = flags.DEFINE_list(
  'horizons', ['20'], 'Steps of the VLA, open loop.'
)
_EPISODES = flags.DEFINE_integer('episodes', 100, 'Start states.')
_SEED = flags.DEFINE_integer('seed', 10_000, 'Of the start states.')
_OUT = flags.DEFINE_string('out', '', 'JSON file to write.')
_SET = flags.DEFINE_multi_string(
  'set', [], 'A field of PracticeConfig, without a workdir.'
)


def policies_of(config: PracticeConfig):
  """Returns an evaluator and the named policies to run."""
  if not _WORKDIR.value:
    cell = setup_lib.make(config, _ASSETS.value)
    for h in _HORIZONS.value:
      assets.check_fit(
        cell.embedder.spec,
        dataclasses.replace(config, open_loop_steps=int(h)),
        assets.TASK,
      )
    named = {
      f'base, {h} steps': evaluator_lib.base_policy(int(h))
      for h in _HORIZONS.value
    }
  else:
    run = practice_run.PracticeRun(
      workdir=pathlib.Path(_WORKDIR.value),
      config=config,
      resume=True,
      assets=_ASSETS.value,
    )
    cell = run.cell
    named = {
      'mean': run.actor(explore=False),
      'exploring': run.actor(explore=True),
    }
  evaluator = setup_lib.make_evaluator(cell, config, _SEED.value)
  return evaluator, named


def main(argv: list[str]) -> None:
  """Runs each policy and prints a line for it."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  if _WORKDIR.value and _SET.value:
    raise app.UsageError(f'A run has its own settings: --set={_SET.value}.')
  keep_compiled()
  try:
    if _WORKDIR.value:
      path = pathlib.Path(_WORKDIR.value) / 'config.json'
      config = config_lib.from_json(PracticeConfig, path.read_text())
    else:
      config = config_lib.override(PracticeConfig(), _SET.value)
    evaluator, named = policies_of(config)
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from None
  table = {}
  for name, policy in named.items():
    episodes, _ = evaluator.run(policy, _EPISODES.value)
    print(f'{name}: {statistics.describe(episodes)}', flush=True)
    table[name] = statistics.to_plain(episodes)
  if _OUT.value:
    pathlib.Path(_OUT.value).write_text(json.dumps(table) + '\n')


if __name__ == '__main__':
  app.run(main)
