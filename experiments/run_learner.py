"""Runs the learner of a robot: follows the journal, publishes weights.

  python -m experiments.run_learner --journal=runs/arm/journal \
      --bundle=bundles/a --workdir=runs/arm/learner

The settings are practice's (`--set=agent.beta=0.01`). It runs until Ctrl-C
or SIGTERM, saves, and continues from there the next time. On the loop's own
computer start it with `nice -n 19`, so that the loop comes first.
"""

import signal
import threading

from absl import flags

from experiments import launch
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.training.journal_learner import JournalLearner

_JOURNAL = flags.DEFINE_string('journal', None, 'Folder.', required=True)
_BUNDLE = flags.DEFINE_string('bundle', None, 'Folder.', required=True)
_WORKDIR = launch.define_workdir('Folder of the learner.')
_SETTINGS = launch.define_settings()
_SAVE_S = flags.DEFINE_float('save_every_s', 60.0, 'Between checkpoints.')
_POLL_S = flags.DEFINE_float('poll_s', 0.2, 'Between reads of the journal.')


def main() -> None:
  """Learns until told to stop."""
  stop = threading.Event()
  for name in (signal.SIGINT, signal.SIGTERM):
    signal.signal(name, lambda *_: stop.set())
  with launch.user_errors():
    spec, _ = bundle_lib.load(_BUNDLE.value)
    learner = JournalLearner(
      journal=_JOURNAL.value,
      workdir=_WORKDIR.value,
      spec=spec,
      config=_SETTINGS.make_config(),
    )
  learner.follow(stop, save_every_s=_SAVE_S.value, poll_s=_POLL_S.value)


if __name__ == '__main__':
  launch.run(main)
