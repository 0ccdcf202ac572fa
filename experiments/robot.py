"""Runs a station: a preflight, then attempts until the robot time is spent.

  python -m experiments.robot --station=stations/bench.json --workdir=runs/arm
  python -m experiments.robot --station=stations/bench.json --preflight_only
  python -m experiments.robot --station=twin --bundle=bundles/a \
      --workdir=runs/twin --minutes=5

The VLA's server must run (`experiments/serve_vla.py`), and for practice the
learner (`experiments/learn_beside.py`) with --journal=WORKDIR/journal and
--workdir=WORKDIR/learner; `make robot` starts all of it on the twin. Set
OMP_NUM_THREADS=1. Ctrl-C ends the run after this tick: the arm holds, and
journal and report are written.
"""

from concurrent import futures
import contextlib
import gc
import pathlib
import shlex
import signal
import sys
from typing import Any

from absl import app, flags

from rlt_jax.robot import lock, preflight, realtime, robot_setup
from rlt_jax.robot import station as station_lib
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.clock import MonotonicClock
from rlt_jax.robot.control.loop import Loop, LoopConfig
from rlt_jax.robot.control.watchdog import Watchdog
from rlt_jax.robot.dashboard import Dashboard
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.operator import terminal
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.vla_queries import VlaQueries
from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from rlt_jax.serving.codec import MessageError

_STATION = flags.DEFINE_string('station', None, "A file, or 'twin'.",
                               required=True)  # fmt: skip
_WORKDIR = flags.DEFINE_string('workdir', '', 'New folder, for practice.')
_PREFLIGHT = flags.DEFINE_bool('preflight_only', False, 'Look, and run not.')
_MINUTES = flags.DEFINE_float('minutes', 10.0, 'Robot time of practice.')
_BASE = flags.DEFINE_integer(
  'num_base_episodes', 10, 'Of the VLA alone, before.'
)
_FINAL = flags.DEFINE_integer('num_final_episodes', 10, 'Of the mean, after.')
_WARMUP = flags.DEFINE_integer(
  'vla_warmup_steps', 6_000, 'Control steps of practice that the VLA drives.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of exploration and starts.')
_RESUME_S = flags.DEFINE_float(
  'resume_after_s', None, 'Go on by itself so long after a fault.'
)
_WAIT_S = flags.DEFINE_float('wait_s', 30.0, "For the VLA's server.")
_REALTIME = flags.DEFINE_bool(
  'realtime', True, 'Ask the host to run the loop before other work.'
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder; the twin has none.')
_VLA = flags.DEFINE_string('vla', 'ws://127.0.0.1:8000', "The twin's.")


def build(clock: MonotonicClock, stack: contextlib.ExitStack) -> RobotSetup:
  """Builds the station."""
  if _STATION.value != 'twin':
    return robot_setup.build(_STATION.value, clock, stack)
  from rlt_jax.sim_robot import sim_station
  from rlt_jax.training.compilation_cache import keep_compiled

  if not _BUNDLE.value:
    raise ValueError('--bundle must name a folder for the twin.')
  keep_compiled()
  return sim_station.build(
    clock, stack, bundle=_BUNDLE.value, vla=_VLA.value, seed=_SEED.value
  )


def practise(
  cell: RobotSetup, policy, client, wire, workdir, clock, stack, priority
) -> None:
  """Runs the plan and writes the report."""
  journal = stack.enter_context(Journal(workdir / 'journal'))
  # One thread: what it is given must be done in that order.
  executor = stack.enter_context(futures.ThreadPoolExecutor(1, 'sight'))
  cell.operator.open()
  stack.callback(cell.operator.close)
  heartbeat = None
  if cell.watchdog is not None:
    heartbeat = stack.enter_context(Watchdog(cell.watchdog))
  spec = policy.spec
  sight = VlaQueries(
    cell.cameras,
    client,
    wire,
    prompt=spec.prompt,
    clock=clock,
    executor=executor,
    max_age_s=cell.max_camera_age_s,
    max_same_s=cell.frozen_camera_timeout_s,
  )
  pilot = EpisodeController(
    spec,
    policy,
    sight=sight,
    outbox=WriteBuffer(EpisodeLog(journal)),
    device=cell.operator,
    handover_config=cell.handover,
    clock=clock,
    executor=executor,
    config=EpisodeConfig(
      time_limit=cell.time_limit,
      start_in_critical_phase=cell.start_in_critical_phase,
      vla_warmup_steps=_WARMUP.value,
      seed=_SEED.value,
    ),
  )
  loop = Loop(
    cell.arm,
    pilot,
    clock,
    config=LoopConfig(period_s=1.0 / spec.control_hz),
    heartbeat=heartbeat,
    on_step=pilot.after,
  )

  def prepare(mode: str, number: int) -> None:
    cell.prepare(mode, number)
    gc.collect()  # now, for during an attempt it would be an overrun

  keys = tuple(terminal.help_lines())
  session = RobotRun(
    loop,
    pilot,
    plan=RunPlan(
      minutes=_MINUTES.value,
      num_base_episodes=_BASE.value,
      num_final_episodes=_FINAL.value,
      resume_after_s=_RESUME_S.value,
    ),
    folder=workdir,
    control_hz=spec.control_hz,
    clock=clock,
    prepare=prepare,
    newest=lambda than: snapshot.read(workdir / 'learner', spec, than),
    tell=lambda: display.tell(),
    vla_warmup_steps=_WARMUP.value,
  )
  stack.callback(session.close)
  display = Dashboard(lambda: session.view(keys))

  def ask_to_stop(signum: int, frame: Any) -> None:
    del signum, frame
    if session.stop:
      raise KeyboardInterrupt
    session.stop = True

  for name in (signal.SIGINT, signal.SIGTERM):
    signal.signal(name, ask_to_stop)
  gc.collect()
  gc.freeze()
  gc.disable()
  before = realtime.stolen()
  try:
    with display:
      session.run()
  finally:
    gc.enable()
    host = {
      'priority': priority,
      'stolen': realtime.stolen_share(before, realtime.stolen()),
    }
    report(session, pilot, workdir, host)


def report(
  session: RobotRun,
  pilot: EpisodeController,
  workdir: pathlib.Path,
  host: dict[str, Any],
) -> None:
  """Writes what there is to report."""
  from rlt_jax.reporting import robot_report

  about = {'command': shlex.join(['python', '-m', 'experiments.robot',
                                  *sys.argv[1:]])}  # fmt: skip
  with contextlib.suppress(ImportError):  # a host without JAX
    from rlt_jax.reporting import provenance

    about |= {
      'device': provenance.device(),
      'commit': provenance.commit(),
      'versions': provenance.versions(),
    }
  shot, hz = session.snapshot, pilot.policy.spec.control_hz
  written = session.record is not None and robot_report.write(
    workdir,
    session.attempts,
    session.record,
    session.by_mode,
    host=host,
    learner={
      'updates_per_s': session.updates_per_s(),
      'update_to_data': shot.critic_updates / shot.rows
      if shot and shot.rows
      else None,
    },
    human=pilot.effort.report(),
    warmup_minutes=_WARMUP.value / hz / 60.0,
    control_hz=hz,
    **about,
  )
  if session.cause:
    print(f'Stopped: {session.cause}.')
  what = 'report.md' if written else 'attempts.jsonl (too few for a report)'
  print(f'{workdir / what}', flush=True)


def main(argv: list[str]) -> None:
  """Builds, looks, runs."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  sys.setswitchinterval(5e-4)  # the loop's thread must not wait 5 ms for others
  priority = realtime.ask() if _REALTIME.value else 'none'
  clock, workdir = MonotonicClock(), pathlib.Path(_WORKDIR.value)
  try:
    if not _PREFLIGHT.value and (workdir / 'attempts.jsonl').exists():
      raise ValueError(f'workdir must be new: {workdir}.')
    with contextlib.ExitStack() as stack:
      cell = build(clock, stack)
      policy = NumpyPolicy(*bundle_lib.load(cell.bundle))
      client, wire = station_lib.connect_vla(
        cell.vla, policy.spec, _WAIT_S.value
      )
      stack.callback(client.close)
      workdir.mkdir(parents=True, exist_ok=True)
      findings = preflight.look(
        cell, policy, client, wire, folder=workdir, clock=clock,
        priority=priority,
      )  # fmt: skip
      for line in preflight.lines(findings):
        print(line)
      print(preflight.verdict(findings), flush=True)
      if any(x.verdict == preflight.BAD for x in findings):
        raise SystemExit(1)
      if not _PREFLIGHT.value:
        practise(cell, policy, client, wire, workdir, clock, stack, priority)
  except (
    ValueError, OSError, ArmError, MessageError, DeviceError, JournalError,
    lock.LockedError,
  ) as error:  # fmt: skip
    raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
  app.run(main)
