"""Trains a robot's agent: reads the robot's journal and publishes weights.

  python -m experiments.run_learner --journal=runs/arm/journal \
      --bundle=bundles/a --workdir=runs/arm/learner

It has the settings of practice (`--set=agent.beta=0.01`). It runs until Ctrl-C
or SIGTERM, saves, and continues from there when it is started again. On the
computer that runs the control loop start it with `nice -n 19`, so that the loop
has priority.
"""

import signal
import threading

from absl import flags

from experiments import launch
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.training.journal_learner import JournalLearner

_JOURNAL = flags.DEFINE_string(
  'journal', None, "Folder of the robot's journal.", required=True
)
_BUNDLE = flags.DEFINE_string(
  'bundle', None, 'Folder of the bundle that the robot runs.', required=True
)
_WORKDIR = launch.define_workdir(
  'Folder for checkpoints, metrics and weights; continued if it exists.'
)
_SETTINGS = launch.define_settings()
_SAVE_S = flags.DEFINE_float(
  'save_every_s', 60.0, 'Seconds between checkpoints.'
)
_POLL_S = flags.DEFINE_float(
  'poll_s', 0.2, 'Seconds between reads of the journal.'
)


def main() -> None:
  """Learns until Ctrl-C or SIGTERM."""
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
