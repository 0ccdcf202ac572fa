"""Runs VLA server, learner, loop and simulated arm on this machine.

  python -m experiments.robot_cell --workdir=runs/robot --minutes=10

Without --bundle an untrained actor is exported first. If the VLA server or the
learner ends, it is restarted while the arm holds. At the end of the run, or
after Ctrl-C, the loop ends first, so that its arm holds, and then the other
processes. Logs are in WORKDIR/logs.
"""

import pathlib
import subprocess
import sys

from absl import flags

from experiments import launch
from rlt_jax.robot import processes
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.processes import Process

_WORKDIR = launch.define_workdir()
_MINUTES = flags.DEFINE_float(
  'minutes',
  10.0,
  'Minutes of practice, counted in control steps.',
  lower_bound=0.0,
)
_BASE = flags.DEFINE_integer(
  'num_base_episodes',
  10,
  'Episodes of the VLA alone, before practice.',
  lower_bound=0,
)
_FINAL = flags.DEFINE_integer(
  'num_final_episodes',
  10,
  'Episodes without exploration, after practice.',
  lower_bound=0,
)
_WARMUP = flags.DEFINE_integer(
  'vla_warmup_steps',
  6_000,
  'First control steps of practice, driven by the VLA.',
  lower_bound=0,
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Seed of networks, exploration and start states.'
)
_DELAY = flags.DEFINE_integer(
  'inference_delay', 4, 'Inference delay, control steps; only without --bundle.'
)
_BUNDLE = flags.DEFINE_string(
  'bundle', '', 'Folder of the bundle; empty exports an untrained actor.'
)
_TASK = launch.define_task()
_ARM_SPEC = flags.DEFINE_string(
  'arm_spec', '', 'JSON file of the simulated arm; see experiments.robot.'
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


def _command(name: str, **arguments: object) -> list[str]:
  given = [f'--{key}={value}' for key, value in arguments.items()]
  return [sys.executable, '-m', f'experiments.{name}', *given]


def main() -> None:
  """Runs until the practice time is over or somebody stops it."""
  workdir = pathlib.Path(_WORKDIR.value)
  if workdir.exists():
    raise SystemExit(f'error: workdir must be new: {workdir}.')
  for name in ('logs', 'journal'):
    (workdir / name).mkdir(parents=True)
  bundle = _BUNDLE.value or str(workdir / 'bundle')
  settings = [*_TASK.arguments(), f'--set=seed={_SEED.value}']
  port = _PORT.value or processes.free_port()
  policy = {'vla': _VLA.value, 'assets': _ASSETS.value}
  if not _BUNDLE.value:
    delay = f'--set=inference_delay={_DELAY.value}'
    export = _command('export_policy', fresh=True, out=bundle, **policy)
    if subprocess.run([*export, *settings, delay], check=False).returncode:
      raise SystemExit('error: the untrained actor could not be exported.')
  delay = f'--set=inference_delay={bundle_lib.load(bundle)[0].inference_delay}'
  learner = _command('run_learner', journal=workdir / 'journal', bundle=bundle,
                     workdir=workdir / 'learner', vla=_VLA.value)  # fmt: skip
  server = [*_command('serve_vla', port=port, **policy), *_TASK.arguments()]
  services = [Process('VLA', server, workdir / 'logs/vla.log')]
  if _LEARNER.value:
    # The loop has deadlines and learning has none, so the loop goes first.
    services.append(Process('learner', [*learner, *settings, delay],
                            workdir / 'logs/learner.log', nice=19))  # fmt: skip
  loop = _command(
    'robot', station='sim', workdir=workdir, bundle=bundle,
    vla=f'ws://127.0.0.1:{port}', wait_s=300, resume_after_s=1,
    minutes=_MINUTES.value, num_base_episodes=_BASE.value,
    num_final_episodes=_FINAL.value, vla_warmup_steps=_WARMUP.value,
    seed=_SEED.value, arm_spec=_ARM_SPEC.value,
  )  # fmt: skip
  loop += _TASK.arguments()
  print(f'Starting all processes; logs are in {workdir}/logs.', flush=True)
  try:
    status = processes.run_loop(loop, services, env={'OMP_NUM_THREADS': '1'})
  except KeyboardInterrupt:
    raise SystemExit('\nStopped: all processes have ended.') from None
  raise SystemExit(status)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
