"""Practises the Ethernet insertion and writes the report.

  python -m experiments.practice --workdir=runs/a
  python -m experiments.practice --workdir=runs/b --set=seed=1 \
      --set=update.beta=0.01
  python -m experiments.practice --workdir=runs/a --resume

Expected: see README.md for time and results. Everything lands in the workdir:
config.json, metrics.jsonl, TensorBoard events, checkpoints/, report.md,
report.json, the plots and film.gif.
"""

import pathlib
import shlex
import sys

from absl import app, flags, logging

from rlt_jax import config as config_lib
from rlt_jax.training import practice_run
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig

_WORKDIR = flags.DEFINE_string('workdir', None, 'New folder.', required=True)
_SET = flags.DEFINE_multi_string(
  'set', [], 'A field of PracticeConfig, e.g. --set=update.beta=0.01.'
)
_RESUME = flags.DEFINE_bool('resume', False, 'Go on where the workdir ended.')
_ASSETS = flags.DEFINE_string(
  'assets', '', 'Folder with vla/ and token/; the shipped ones by default.'
)
_REPORT = flags.DEFINE_bool('report', True, 'Film and plots at the end.')


def main(argv: list[str]) -> None:
  """Starts or resumes a run."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  workdir = pathlib.Path(_WORKDIR.value)
  # orbax narrates every save at this level.
  logging.set_verbosity(logging.WARNING)
  keep_compiled()
  try:
    config = config_lib.override(PracticeConfig(), _SET.value)
    run = practice_run.PracticeRun(
      workdir=workdir,
      config=config,
      resume=_RESUME.value,
      assets=_ASSETS.value,
      command=shlex.join(
        ['python', '-m', 'experiments.practice', *sys.argv[1:]]
      ),
    )
  except ValueError as error:
    # A wrong setting is the user's to mend: the sentence says it all.
    raise SystemExit(f'error: {error}') from None
  try:
    run.practise()
  except KeyboardInterrupt:
    run.save()
    raise SystemExit(
      f'\nSaved. Go on with: python -m experiments.practice '
      f'--workdir={workdir} --resume'
    ) from None
  if _REPORT.value:
    run.report()


if __name__ == '__main__':
  app.run(main)
