"""Learns beside an arm: follows the loop's journal, publishes weights.

  python -m experiments.learn_beside --journal=runs/arm/journal \
      --bundle=bundles/a --workdir=runs/arm/learner

The settings are practice's (`--set=agent.beta=0.01`). It runs until Ctrl-C
or SIGTERM, saves, and goes on from there the next time. On the loop's own
computer start it with `nice -n 19`, so that the loop comes first.
"""

import signal
import time

from absl import app, flags, logging

from rlt_jax import config as config_lib
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.journal_learner import JournalLearner

_JOURNAL = flags.DEFINE_string('journal', None, 'Folder.', required=True)
_BUNDLE = flags.DEFINE_string('bundle', None, 'Folder.', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder.', required=True)
_SET = flags.DEFINE_multi_string('set', [], 'field=value, of PracticeConfig.')
_SAVE_S = flags.DEFINE_float('save_every_s', 60.0, 'Between checkpoints.')
_POLL_S = flags.DEFINE_float('poll_s', 0.2, 'Between looks at the journal.')


def main(argv: list[str]) -> None:
  """Follows until told to stop."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  # orbax narrates every save at this level.
  logging.set_verbosity(logging.WARNING)
  keep_compiled()
  stop = False

  def ask_to_stop(signum, frame):
    nonlocal stop
    del signum, frame
    stop = True

  for name in (signal.SIGINT, signal.SIGTERM):
    signal.signal(name, ask_to_stop)
  try:
    spec, _ = bundle_lib.load(_BUNDLE.value)
    learner = JournalLearner(
      journal=_JOURNAL.value,
      workdir=_WORKDIR.value,
      spec=spec,
      config=config_lib.override(PracticeConfig(), _SET.value),
    )
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from None
  print(f'version {learner.version} is published', flush=True)
  saved = time.monotonic()
  while not stop:
    if learner.catch_up():
      print(f'version {learner.version} is published', flush=True)
    if time.monotonic() - saved > _SAVE_S.value:
      learner.save()
      saved = time.monotonic()
    time.sleep(_POLL_S.value)
  learner.save()


if __name__ == '__main__':
  app.run(main)
