"""Practises several seeds in one process and writes a report for each.

  python -m experiments.sweep --workdir=runs/full --seeds=0,1,2,3
  python -m experiments.sweep --workdir=runs/full --seeds=0,1,2,3 --resume
  python -m experiments.summarize --out=full.json \\
      full=runs/full/seed-0,runs/full/seed-1,runs/full/seed-2,runs/full/seed-3

Expected: what as many runs of `experiments.practice` give, without their films;
a long run's numbers differ from its twin's as two machines' would. Everything
of seed N lands in workdir/seed-N, the folder of a run in every way.
"""

import pathlib
import shlex
import sys

from absl import app, flags, logging

from rlt_jax import config as config_lib
from rlt_jax.training import sweep
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder.', required=True)
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2', '3'], 'Of the runs.')
_SET = flags.DEFINE_multi_string(
  'set', [], 'A field of PracticeConfig, e.g. --set=update.beta=0.01.'
)
_RESUME = flags.DEFINE_bool('resume', False, 'Go on where the seeds ended.')
_DEVICES = flags.DEFINE_integer('devices', 1, 'To spread the seeds over.')
_ASSETS = flags.DEFINE_string(
  'assets', '', 'Folder with vla/ and token/; the shipped ones by default.'
)


def main(argv: list[str]) -> None:
  """Starts or resumes a sweep."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  # orbax narrates every save at this level.
  logging.set_verbosity(logging.WARNING)
  keep_compiled()
  try:
    if any(assignment.startswith('seed=') for assignment in _SET.value):
      raise ValueError(f'--seeds must give the seeds: --set={_SET.value}.')
    run = sweep.Sweep(
      workdir=pathlib.Path(_WORKDIR.value),
      config=config_lib.override(PracticeConfig(), _SET.value),
      seeds=[int(seed) for seed in _SEEDS.value],
      resume=_RESUME.value,
      devices=_DEVICES.value,
      assets=_ASSETS.value,
      command=shlex.join(['python', '-m', 'experiments.sweep', *sys.argv[1:]]),
    )
  except ValueError as error:
    # A wrong setting is the user's to mend: the sentence says it all.
    raise SystemExit(f'error: {error}') from None
  try:
    run.practise()
  except KeyboardInterrupt:
    run.save()
    raise SystemExit(
      '\nSaved. The same command with --resume goes on.'
    ) from None
  run.report()


if __name__ == '__main__':
  app.run(main)
