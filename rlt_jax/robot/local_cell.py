"""A whole robot cell on one machine: VLA server, learner, control loop."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import shutil
import subprocess
from typing import Any

from rlt_jax.robot import processes
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import DIGESTS
from rlt_jax.robot.processes import Process
from rlt_jax.robot.run_results import FILE

# (name of an experiment, its flags by name) -> the command that runs it.
MakeCommand = Callable[[str, Mapping[str, Any]], list[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellConfig:
  """How a cell is put together.

  workdir: folder of the run, new without resume. bundle: folder, '' exports an
    untrained actor for inference_delay control steps. vla, assets: as for the
    VLA server. resume: go on with the run. learner: False leaves it out. port:
    TCP port of the server, 0 takes a free one. seed: of the networks. task:
    flags that name the task. loop: flags of the control loop by name.
  """

  workdir: pathlib.Path
  bundle: str
  inference_delay: int
  vla: str
  assets: str
  learner: bool
  resume: bool
  port: int
  seed: int
  task: Sequence[str]
  loop: Mapping[str, Any]


def run(config: CellConfig, make_command: MakeCommand) -> int:
  """Runs the processes until the loop ends; returns the loop's exit status.

  Raises:
    ValueError: a workdir that exists, or that does not with `resume`, an actor
      that cannot be exported, or a practiced one beside a learner.
    KeyboardInterrupt: a signal; everything has ended by then.
  """
  workdir = config.workdir
  if workdir.exists() and not config.resume:
    raise ValueError(f'workdir must be new, or go on with --resume: {workdir}.')
  if config.resume and not workdir.exists():
    raise ValueError(f'--resume needs the folder of a run: {workdir}.')
  if config.bundle and config.learner:
    _check_untrained(config.bundle)
  for name in ('logs', 'journal'):
    (workdir / name).mkdir(parents=True, exist_ok=True)
  bundle = config.bundle or str(workdir / 'bundle')
  settings = [*config.task, f'--set=seed={config.seed}']
  policy = {'vla': config.vla, 'assets': config.assets}
  if not config.bundle and not (workdir / 'bundle' / DIGESTS).exists():
    if not (workdir / FILE).exists():
      # Of an export that was killed, or had no room: it needs a new folder.
      shutil.rmtree(workdir / 'bundle', ignore_errors=True)
    export = make_command(
      'export_policy', {'fresh': True, 'out': bundle} | policy
    )
    delay = f'--set=inference_delay={config.inference_delay}'
    print('Exporting an untrained actor; takes some seconds.', flush=True)
    done = subprocess.run(
      [*export, *settings, delay], env=processes.environment(), check=False
    )
    if done.returncode:
      raise ValueError('the untrained actor could not be exported.')
  delay = f'--set=inference_delay={bundle_lib.load(bundle)[0].inference_delay}'
  port = config.port or processes.free_port()
  server = [*make_command('serve_vla', {'port': port} | policy), *config.task]
  services = [Process('VLA', server, workdir / 'logs/vla.log')]
  if config.learner:
    learner = make_command('run_learner', {
      'journal': workdir / 'journal', 'bundle': bundle,
      'workdir': workdir / 'learner', 'vla': config.vla,
    })  # fmt: skip
    # The loop has deadlines and learning has none, so the loop goes first.
    services.append(Process('learner', [*learner, *settings, delay],
                            workdir / 'logs/learner.log', nice=19))  # fmt: skip
  loop = make_command('robot', {
    'station': 'sim', 'workdir': workdir, 'bundle': bundle,
    'vla': f'ws://127.0.0.1:{port}', 'wait_s': 300, 'resume_after_s': 1,
    # It may have been stopped before its loop began.
    'resume': config.resume and (workdir / FILE).exists(),
  } | dict(config.loop))  # fmt: skip
  print(f'Starting all processes; logs are in {workdir}/logs.', flush=True)
  status = processes.run_loop(
    [*loop, *config.task], services, env={'OMP_NUM_THREADS': '1'}
  )
  if status < 0:
    print(
      f'The loop {processes.describe(status)}, and an arm holds only if a '
      f'watchdog holds it. What was driven is in {workdir}; --resume goes on.',
      flush=True,
    )
  return status


def _check_untrained(bundle: str) -> None:
  """Refuses a practiced actor, which the learner of a cell would replace."""
  steps = bundle_lib.load(bundle)[0].practiced_steps
  if steps:
    raise ValueError(
      'bundle must have an untrained actor, as the learner of a cell begins '
      'with one; run the parts by hand with run_learner --start, or give '
      f'--nolearner: {steps} control steps of practice.'
    )
