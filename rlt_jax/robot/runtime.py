"""Builds the run of a robot from its parts, and runs it.

`assemble` is the composition root: everything between the arm and the journal
is built there and nowhere else.
"""

from collections.abc import Callable
from concurrent import futures
import contextlib
import dataclasses
import functools
import gc
import os
import pathlib
import sys
from typing import Any, NamedTuple

from rlt_jax import signals
from rlt_jax.lock import LockedError
from rlt_jax.robot import preflight, realtime, resume, run_context, shadow
from rlt_jax.robot import station as station_lib
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.control.loop import Loop, LoopConfig
from rlt_jax.robot.control.stop_states import StopConfig
from rlt_jax.robot.control.telemetry import LoopStep
from rlt_jax.robot.control.watchdog import Heartbeat, Watchdog
from rlt_jax.robot.daemon_executor import DaemonExecutor
from rlt_jax.robot.dashboard import Dashboard
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.episode_operator import EpisodeOperator
from rlt_jax.robot.findings import print_verdict
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import vla_queries as queries_lib
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.vla_queries import Client, PictureLimits, VlaQueries
from rlt_jax.robot.policy_updates import PolicyUpdates
from rlt_jax.robot.recording import picture_store
from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.picture_store import PictureStore
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from rlt_jax.robot.shadow import ShadowArm
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
  resume: go on with the run in the folder. shadow: nothing is sent to the arm,
  see `robot.shadow`. keep_pictures: of the recorded steps, in the folder's
  'pictures'.
  """

  plan: RunPlan
  vla_warmup_steps: int = 6_000
  seed: int = 0
  vla_wait_s: float = 30.0
  realtime_priority: bool = True
  preflight_only: bool = False
  resume: bool = False
  shadow: bool = False
  keep_pictures: bool = False

  def __post_init__(self):
    if self.shadow and self.plan.minutes:
      raise ValueError(
        'minutes must be 0 in a shadow run, whose arm does not do what the '
        f'policy decides: {self.plan.minutes}.'
      )
    if self.keep_pictures and not self.plan.minutes:
      raise ValueError(
        'keep_pictures must be off in a run without practice, which alone is '
        'recorded: minutes is 0.'
      )


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
  camera_executor: futures.Executor,
  clock: Clock,
  config: EpisodeConfig,
  bundle_digest: str = '',
  heartbeat: Heartbeat | None = None,
  on_step: Callable[[LoopStep], None] = lambda step: None,
  keep: queries_lib.Keep = lambda query, images: None,
) -> Runtime:
  """Connects the parts; moves nothing.

  Args:
    setup: arm, cameras and operator; the arm is connected, the operator's
      device is open.
    policy: the first actor, with its bundle.
    client: of the VLA's server.
    wire: what the server takes and returns.
    journal: of practice.
    executor: one thread, for the journal.
    camera_executor: one thread, for the cameras.
    clock: the loop's.
    config: settings of the episodes.
    bundle_digest: see `policy.bundle.digest`, for the journal.
    heartbeat: of the watchdog, or None.
    on_step: called after each control step, after the controller.
    keep: called in the cameras' thread with what a recorded step was shown.
  """
  spec = policy.spec
  period_s = 1.0 / spec.control_hz
  vla_queries = VlaQueries(
    setup.cameras,
    client,
    wire,
    prompt=spec.prompt,
    clock=clock,
    executor=camera_executor,
    limits=PictureLimits(
      max_age_s=setup.max_camera_age_s,
      max_offset_s=period_s,
      frozen_timeout_s=setup.frozen_camera_timeout_s,
    ),
    keep=keep,
  )
  operator = EpisodeOperator(
    setup.operator, setup.handover, clock=clock, period_s=period_s
  )
  controller = EpisodeController(
    policy,
    vla_queries=vla_queries,
    write_buffer=WriteBuffer(EpisodeLog(journal, bundle=bundle_digest)),
    operator=operator,
    clock=clock,
    executor=executor,
    config=config,
  )

  def after_step(step: LoopStep) -> None:
    controller.after_step(step)
    on_step(step)

  loop = Loop(
    setup.arm,
    controller,
    clock,
    config=_loop_config(setup, period_s),
    heartbeat=heartbeat,
    on_step=after_step,
  )
  return Runtime(loop, controller, operator, vla_queries)


def _loop_config(setup: RobotSetup, period_s: float) -> LoopConfig:
  return LoopConfig(
    period_s=period_s,
    stop=StopConfig(
      stow_after_hold_s=setup.stow_after_hold_s,
      disable_after_stow_s=setup.disable_after_stow_s,
    ),
    velocity_from_pose=isinstance(setup.arm, ShadowArm),
  )


def run_robot(
  build: Callable[[Clock, contextlib.ExitStack], RobotSetup],
  workdir: str | os.PathLike[str],
  config: RuntimeConfig,
  *,
  report: Callable[[FinishedRun], None],
) -> bool:
  """Does the preflight and, if it passes, runs the plan.

  Call it in the main thread: SIGINT, SIGTERM and SIGHUP end the run after the
  current control step; the arm then holds, and journal and report are written.
  A second one raises KeyboardInterrupt.

  Args:
    build: builds the setup for a clock; the stack closes it.
    workdir: new folder, or with `config.resume` one with a run. The journal is
      in its 'journal', and the learner's weights come from its 'learner'.
    config: settings.
    report: called once when the run is over, however it ended.

  Returns:
    Whether the preflight passed.

  Raises:
    ValueError: a setting does not fit, or the folder does not.
    Exception: one of ERRORS, of the parts.
  """
  workdir = pathlib.Path(workdir)
  if not config.preflight_only:
    resume.check_folder(workdir, resume=config.resume)
  # The loop's thread must not wait for others for the default 5 ms.
  sys.setswitchinterval(5e-4)
  priority = realtime.request_priority() if config.realtime_priority else 'none'
  clock = MonotonicClock()
  with contextlib.ExitStack() as stack:
    setup = build(clock, stack)
    if config.shadow:
      setup = setup._replace(arm=ShadowArm(setup.arm), watchdog=None)
    if config.resume:
      resume.check_bundle(workdir, setup.bundle)
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
    if not print_verdict(findings):
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
    _run_and_report(run, dashboard, report, priority, config, policy.spec)
  return True


def _run_and_report(
  run: RobotRun,
  dashboard: Dashboard,
  report: Callable[[FinishedRun], None],
  priority: str,
  config: RuntimeConfig,
  spec: BundleSpec,
) -> None:
  stolen_before = realtime.read_stolen()
  try:
    with run_context.of_run(run), dashboard:
      run.run()
  finally:
    # The report must not be cut short by the signals that follow the first.
    with signals.StopRequest('after the report'):
      share = realtime.stolen_share(stolen_before, realtime.read_stolen())
      host = {'priority': priority, 'stolen': share}
      warmup_minutes = config.vla_warmup_steps / spec.control_hz / 60.0
      report(FinishedRun(run, host, warmup_minutes, spec.control_hz))


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
  """Opens records, operator and watchdog, and connects everything."""
  control_hz, digest = policy.spec.control_hz, bundle_lib.digest(setup.bundle)
  records = resume.open_records(
    workdir, setup.bundle, policy.spec, resume=config.resume, stack=stack
  )
  results = records.results
  setup.operator.open()
  stack.callback(setup.operator.close)
  heartbeat = setup.watchdog and stack.enter_context(Watchdog(setup.watchdog))
  # Closed after the cameras' thread, which puts pictures into it.
  store = config.keep_pictures and picture_store.open_store(
    workdir, policy.spec, setup.arm.spec.name, setup.cameras.shapes, stack
  )
  runtime = assemble(
    setup,
    policy,
    client,
    wire,
    journal=records.journal,
    executor=stack.enter_context(futures.ThreadPoolExecutor(1, 'journal')),
    camera_executor=stack.enter_context(DaemonExecutor('cameras')),
    clock=clock,
    config=_episode_config(setup, config, len(results.episodes)),
    bundle_digest=digest,
    heartbeat=heartbeat,
    on_step=shadow.open_log(setup.arm, control_hz, workdir, stack),
    **({'keep': store.put} if store else {}),
  )
  runtime.controller.progress.practice_steps = resume.practice_steps(results)
  runtime.operator.effort.restore(results.episodes)
  keys = tuple(getattr(setup.operator, 'help_lines', tuple)())
  dashboard = Dashboard(lambda: run.view(keys))
  runtime.operator.feedback.say = dashboard.post
  run = RobotRun(
    runtime.loop,
    runtime.controller,
    runtime.operator,
    plan=config.plan,
    results=results,
    updates=PolicyUpdates.of_learner(workdir / 'learner', policy.spec, digest),
    control_hz=control_hz,
    clock=clock,
    prepare=functools.partial(_prepare, setup, store, dashboard.say),
    notify=dashboard.notify,
    say=dashboard.say,
    revive=functools.partial(_revive, heartbeat),
  )
  return run, dashboard


def _episode_config(
  setup: RobotSetup, config: RuntimeConfig, done: int
) -> EpisodeConfig:
  return EpisodeConfig(
    time_limit=setup.time_limit,
    start_in_critical_phase=setup.start_in_critical_phase,
    vla_warmup_steps=config.vla_warmup_steps,
    seed=(config.seed, done) if done else config.seed,  # not the same noise
  )


def _revive(watchdog: Watchdog | None) -> str:
  """Starts the watchdog again if it has ended; returns why it cannot, or ''."""
  if watchdog is None or watchdog.running:
    return ''
  try:
    watchdog.start()
  except ArmError as error:
    return str(error)
  return ''


def _prepare(
  setup: RobotSetup,
  store: PictureStore | bool,
  say: Callable[[str], None],
  mode: str,
  number: int,
) -> None:
  setup.prepare(mode, number)
  if store and (text := store.new_drops()):
    say(text)
  gc.collect()  # now, because during an episode it would be an overrun
