"""Runs VLA server, learner, loop and simulated arm on this machine.

  python -m experiments.robot_cell --workdir=runs/robot --minutes=10

Without --bundle an untrained actor is exported first. If the VLA server or the
learner ends, it is restarted while the arm holds. At the end, or after Ctrl-C,
SIGTERM or SIGHUP, the loop ends first, so that its arm holds, then the rest; it
ends too if this process is killed. --resume goes on. Logs: WORKDIR/logs.

Cost: --minutes of practice and the episodes around it, in real time.
"""

from collections.abc import Mapping
import pathlib
import sys
from typing import Any

from absl import flags

from rlt_jax import signals
from rlt_jax.robot import local_cell

from . import launch, robot_flags

_WORKDIR = launch.define_workdir('Folder for the run, new without --resume.')
_RESUME = robot_flags.define_resume()
# Enough for intervals of ten points, at the success rates of both.
_RUN = robot_flags.define_run(num_base_episodes=80, num_final_episodes=60)
_DELAY = flags.DEFINE_integer(
  'inference_delay', 4, 'Inference delay, control steps; only without --bundle.'
)
_BUNDLE = launch.define_path(
  'bundle', '', 'Folder of the bundle; empty exports an untrained actor.'
)
_VLA = launch.define_path(
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
  return [sys.executable, '-m', f'{__package__}.{name}', *given]


def main() -> None:
  """Runs until the practice time is over or somebody stops it."""
  config = local_cell.CellConfig(
    workdir=pathlib.Path(_WORKDIR.value),
    bundle=_BUNDLE.value,
    inference_delay=_DELAY.value,
    vla=_VLA.value,
    assets=_ASSETS.value,
    learner=_LEARNER.value,
    resume=_RESUME.value,
    port=_PORT.value,
    seed=_RUN.seed.value,
    task=_RUN.task.arguments(),
    loop=_RUN.values(),
  )
  try:
    with launch.user_errors():
      status = local_cell.run(config, _command)
  except KeyboardInterrupt as stopped:
    flag = '' if _RESUME.value else ' --resume'
    print('\nStopped: all processes have ended. Continue with: '
          f'{launch.command_line()}{flag}', flush=True)  # fmt: skip
    signals.leave(stopped)
  # As a shell does for a process that a signal has killed.
  raise SystemExit(status if status >= 0 else 128 - status)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
