"""Runs VLA server, learner, loop and simulated arm on this machine.

  python -m experiments.robot_cell --workdir=runs/robot --minutes=10

Without --bundle an untrained actor is exported first. If the VLA server or the
learner ends, it is restarted while the arm holds. At the end of the run, or
after Ctrl-C, the loop ends first, so that its arm holds, and then the other
processes. Logs are in WORKDIR/logs.
"""

from collections.abc import Mapping
import pathlib
import sys
from typing import Any

from absl import flags

from experiments import launch, robot_flags
from rlt_jax.robot import local_cell

_WORKDIR = launch.define_workdir()
_RUN = robot_flags.define_run()
_DELAY = flags.DEFINE_integer(
  'inference_delay', 4, 'Inference delay, control steps; only without --bundle.'
)
_BUNDLE = flags.DEFINE_string(
  'bundle', '', 'Folder of the bundle; empty exports an untrained actor.'
)
_VLA = flags.DEFINE_string(
  'vla', 'pi_small', 'Frozen VLA; see experiments.serve_vla.'
)
_ASSETS = launch.define_assets()
_LEARNER = flags.DEFINE_bool(
  'learner', True, 'Run the learner; without it the loop can be timed alone.'
)
_PORT = flags.DEFINE_integer(
  'port', 0, 'TCP port of the VLA server; 0 takes a free one.'
)


def _command(name: str, values: Mapping[str, Any]) -> list[str]:
  given = [f'--{key}={value}' for key, value in values.items()]
  return [sys.executable, '-m', f'experiments.{name}', *given]


def main() -> None:
  """Runs until the practice time is over or somebody stops it."""
  config = local_cell.CellConfig(
    workdir=pathlib.Path(_WORKDIR.value),
    bundle=_BUNDLE.value,
    inference_delay=_DELAY.value,
    vla=_VLA.value,
    assets=_ASSETS.value,
    learner=_LEARNER.value,
    port=_PORT.value,
    seed=_RUN.seed.value,
    task=_RUN.task.arguments(),
    loop=_RUN.values(),
  )
  try:
    with launch.user_errors():
      status = local_cell.run(config, _command)
  except KeyboardInterrupt:
    raise SystemExit('\nStopped: all processes have ended.') from None
  raise SystemExit(status)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
