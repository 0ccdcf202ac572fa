"""Trains a robot's agent: reads the robot's journal and publishes weights.

  python -m experiments.run_learner --journal=J --bundle=B --workdir=W

J is WORKDIR/journal of `experiments.robot`, B the bundle that the robot runs.
It has the settings of practice (--set=agent.beta=0.01). It may be started
before the loop. It runs until Ctrl-C, SIGTERM or SIGHUP, saves, and continues
from there when it is started again. On the computer that runs the control loop
start it with `nice -n 19`, so that the loop has priority.

Cost: one core as long as the robot runs.
"""

import signal
import threading

from absl import flags

from rlt_jax import signals
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.recording.journal import JournalError

from . import launch

_JOURNAL = launch.define_path(
  'journal', None, "Folder of the robot's journal.", required=True
)
_BUNDLE = launch.define_path(
  'bundle', None, 'Folder of the bundle that the robot runs.', required=True
)
_WORKDIR = launch.define_workdir(
  'Folder for checkpoints, metrics and weights; continued if it exists.'
)
_START = launch.define_path(
  'start',
  '',
  'Run whose agent a new learner begins with; empty: an untrained '
  'one, as a bundle of export_policy --fresh or --station has.',
)
_SETTINGS = launch.define_settings()
_SAVE_S = flags.DEFINE_float(
  'save_every_s', 60.0, 'Seconds between checkpoints.'
)
_POLL_S = flags.DEFINE_float(
  'poll_s', 0.2, 'Seconds between reads of the journal.'
)


def main() -> None:
  """Learns until a signal asks for the end."""
  stop = threading.Event()
  for name in signals.SIGNALS:
    if signal.getsignal(name) != signal.SIG_IGN:
      signal.signal(name, lambda *_: stop.set())
  from rlt_jax.training import bundle_settings
  from rlt_jax.training.config import PracticeConfig
  from rlt_jax.training.journal_learner import JournalLearner

  with launch.user_errors(JournalError):
    spec, layers = bundle_lib.load(_BUNDLE.value)
    agent = _SETTINGS.agent.value or PracticeConfig.agent_name
    learner = JournalLearner(
      journal=_JOURNAL.value,
      workdir=_WORKDIR.value,
      spec=spec,
      layers=layers,
      start=_START.value,
      bundle=bundle_lib.digest(_BUNDLE.value),
      config=launch.make_config(
        [*bundle_settings.assignments(spec, agent), *_SETTINGS.set.value],
        task=_SETTINGS.task.value,
        vla=_SETTINGS.vla.value,
        agent=agent,
      ),
    )
    learner.follow(stop, save_every_s=_SAVE_S.value, poll_s=_POLL_S.value)


if __name__ == '__main__':
  launch.run(main)
