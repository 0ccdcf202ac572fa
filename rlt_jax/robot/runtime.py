"""Builds the run of a robot from its parts, and runs it.

`assemble` is the composition root: everything between the arm and the journal
is built there and nowhere else.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import functools
import gc
import os
import pathlib
import signal
import sys
from typing import Any, NamedTuple

from rlt_jax.robot import preflight, realtime
from rlt_jax.robot import station as station_lib
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.control.loop import Loop, LoopConfig
from rlt_jax.robot.control.stop_states import StopConfig
from rlt_jax.robot.control.telemetry import LoopStep
from rlt_jax.robot.control.watchdog import Heartbeat, Watchdog
from rlt_jax.robot.dashboard import Dashboard
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.episode_operator import EpisodeOperator
from rlt_jax.robot.lock import LockedError
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.vla_queries import Client, VlaQueries
from rlt_jax.robot.policy_updates import PolicyUpdates
from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.robot.run_results import FILE, RunResults
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from rlt_jax.serving.codec import MessageError
from rlt_jax.serving.schema import ServingSpec

# Errors of setup and run that a user can mend; the message says how.
ERRORS = (
  ValueError,
  OSError,
  ArmError,
  DeviceError,
  JournalError,
  LockedError,
  MessageError,
)


class Runtime(NamedTuple):
  """The parts that are connected to each other."""

  loop: Loop
  controller: EpisodeController
  operator: EpisodeOperator
  vla_queries: VlaQueries


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
  """Settings of a run.

  plan: what to run. vla_warmup_steps, seed: see `EpisodeConfig`. vla_wait_s:
  for the VLA's server to answer. realtime_priority: ask the host to run the
  loop before other work. preflight_only: check everything and run nothing.
  """

  plan: RunPlan
  vla_warmup_steps: int = 6_000
  seed: int = 0
  vla_wait_s: float = 30.0
  realtime_priority: bool = True
  preflight_only: bool = False


class FinishedRun(NamedTuple):
  """A run that is over, for its report.

  run: with results and cause. host: 'priority', and 'stolen', the share of the
  processors' time that a hypervisor kept, None where unknown.
  warmup_minutes: of practice that the VLA drove. control_hz: steps a second.
  """

  run: RobotRun
  host: dict[str, Any]
  warmup_minutes: float
  control_hz: float


def assemble(
  setup: RobotSetup,
  policy: NumpyPolicy,
  client: Client,
  wire: ServingSpec,
  *,
  journal: Journal,
  executor: futures.Executor,
  clock: Clock,
  config: EpisodeConfig,
  heartbeat: Heartbeat | None = None,
  on_step: Callable[[LoopStep], None] = lambda step: None,
) -> Runtime:
  """Connects the parts; moves nothing.

  Args:
    setup: arm, cameras and operator; the arm is connected, the operator's
      device is open.
    policy: the first actor, with its bundle.
    client: of the VLA's server.
    wire: what the server takes and returns.
    journal: of practice.
    executor: one thread, for cameras and journal.
    clock: the loop's.
    config: settings of the episodes.
    heartbeat: of the watchdog, or None.
    on_step: called after each control step, after the controller.
  """
  spec = policy.spec
  period_s = 1.0 / spec.control_hz
  vla_queries = VlaQueries(
    setup.cameras,
    client,
    wire,
    prompt=spec.prompt,
    clock=clock,
    executor=executor,
    max_camera_age_s=setup.max_camera_age_s,
    frozen_camera_timeout_s=setup.frozen_camera_timeout_s,
  )
  operator = EpisodeOperator(
    setup.operator, setup.handover, clock=clock, period_s=period_s
  )
  controller = EpisodeController(
    policy,
    vla_queries=vla_queries,
    write_buffer=WriteBuffer(EpisodeLog(journal)),
    operator=operator,
    clock=clock,
    executor=executor,
    config=config,
  )

  def after_step(step: LoopStep) -> None:
    controller.after_step(step)
    on_step(step)

  stop = StopConfig(
    stow_after_hold_s=setup.stow_after_hold_s,
    disable_after_stow_s=setup.disable_after_stow_s,
  )
  loop = Loop(
    setup.arm,
    controller,
    clock,
    config=LoopConfig(period_s=period_s, stop=stop),
    heartbeat=heartbeat,
    on_step=after_step,
  )
  return Runtime(loop, controller, operator, vla_queries)


def run_robot(
  build: Callable[[Clock, contextlib.ExitStack], RobotSetup],
  workdir: str | os.PathLike[str],
  config: RuntimeConfig,
  *,
  report: Callable[[FinishedRun], None],
) -> bool:
  """Does the preflight and, if it passes, runs the plan.

  Call it in the main thread: SIGINT and SIGTERM end the run after the current
  control step; the arm then holds, and journal and report are written. A
  second SIGINT raises KeyboardInterrupt.

  Args:
    build: builds the setup for a clock; the stack closes it.
    workdir: new folder. The journal is in its 'journal', and the learner's
      weights come from its 'learner'.
    config: settings.
    report: called once when the run is over, however it ended.

  Returns:
    Whether the preflight passed.

  Raises:
    ValueError: the workdir has a run already, or a setting does not fit.
    Exception: one of ERRORS, of the parts.
  """
  workdir = pathlib.Path(workdir)
  if not config.preflight_only and (workdir / FILE).exists():
    raise ValueError(f'workdir must be new: {workdir}.')
  # The loop's thread must not wait for others for the default 5 ms.
  sys.setswitchinterval(5e-4)
  priority = realtime.request_priority() if config.realtime_priority else 'none'
  clock = MonotonicClock()
  with contextlib.ExitStack() as stack:
    setup = build(clock, stack)
    policy = NumpyPolicy(*bundle_lib.load(setup.bundle))
    client, wire = station_lib.connect_vla(
      setup.vla, policy.spec, config.vla_wait_s
    )
    stack.callback(client.close)
    workdir.mkdir(parents=True, exist_ok=True)
    findings = preflight.check_all(
      setup,
      policy,
      client,
      wire,
      folder=workdir,
      clock=clock,
      priority=priority,
    )
    if not preflight.print_verdict(findings):
      return False
    if config.preflight_only:
      return True
    run, dashboard = _build_run(
      setup,
      policy,
      client,
      wire,
      workdir=workdir,
      clock=clock,
      config=config,
      stack=stack,
    )
    stolen_before = realtime.read_stolen()
    try:
      with _ending_on_signals(run), _garbage_kept(), dashboard:
        run.run()
    finally:
      share = realtime.stolen_share(stolen_before, realtime.read_stolen())
      host = {'priority': priority, 'stolen': share}
      control_hz = policy.spec.control_hz
      warmup_minutes = config.vla_warmup_steps / control_hz / 60.0
      report(FinishedRun(run, host, warmup_minutes, control_hz))
  return True


def _build_run(
  setup: RobotSetup,
  policy: NumpyPolicy,
  client: Client,
  wire: ServingSpec,
  *,
  workdir: pathlib.Path,
  clock: Clock,
  config: RuntimeConfig,
  stack: contextlib.ExitStack,
) -> tuple[RobotRun, Dashboard]:
  """Opens journal, operator and watchdog, and connects everything."""
  journal = stack.enter_context(Journal(workdir / 'journal'))
  # One thread, because its tasks must be done in their order.
  executor = stack.enter_context(futures.ThreadPoolExecutor(1, 'vla_queries'))
  setup.operator.open()
  stack.callback(setup.operator.close)
  heartbeat = None
  if setup.watchdog is not None:
    heartbeat = stack.enter_context(Watchdog(setup.watchdog))
  runtime = assemble(
    setup,
    policy,
    client,
    wire,
    journal=journal,
    executor=executor,
    clock=clock,
    config=EpisodeConfig(
      time_limit=setup.time_limit,
      start_in_critical_phase=setup.start_in_critical_phase,
      vla_warmup_steps=config.vla_warmup_steps,
      seed=config.seed,
    ),
    heartbeat=heartbeat,
  )
  results = RunResults(workdir)
  stack.callback(results.close)

  help_lines = getattr(setup.operator, 'help_lines', tuple)
  keys = tuple(help_lines())
  dashboard = Dashboard(lambda: run.view(keys))
  run = RobotRun(
    runtime.loop,
    runtime.controller,
    runtime.operator,
    plan=config.plan,
    results=results,
    updates=PolicyUpdates(
      policy.spec,
      functools.partial(snapshot.read, workdir / 'learner', policy.spec),
    ),
    control_hz=policy.spec.control_hz,
    clock=clock,
    prepare=functools.partial(_prepare, setup),
    notify=dashboard.notify,
  )
  return run, dashboard


def _prepare(setup: RobotSetup, mode: str, number: int) -> None:
  setup.prepare(mode, number)
  gc.collect()  # now, because during an episode it would be an overrun


@contextlib.contextmanager
def _ending_on_signals(run: RobotRun) -> Iterator[None]:
  """Makes SIGINT and SIGTERM end the run; the second one interrupts."""

  def end_run(signum: int, frame: Any) -> None:
    del signum, frame
    if run.stop:
      raise KeyboardInterrupt
    run.stop = True

  signals = (signal.SIGINT, signal.SIGTERM)
  before = [signal.signal(name, end_run) for name in signals]
  try:
    yield
  finally:
    for name, handler in zip(signals, before, strict=True):
      signal.signal(name, handler)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
  """Turns the garbage collector off: a collection would be an overrun."""
  gc.collect()
  gc.freeze()
  gc.disable()
  try:
    yield
  finally:
    gc.enable()
    gc.unfreeze()
