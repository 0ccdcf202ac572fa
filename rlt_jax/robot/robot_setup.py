"""A station that is built: what the loop needs, under one lock."""

from collections.abc import Callable
import contextlib
from typing import NamedTuple

from rlt_jax.robot import lock, station
from rlt_jax.robot.arm import Arm
from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control.watchdog import WatchdogConfig
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.events import Device


class RobotSetup(NamedTuple):
  """Fields as in `station.Station`.

  arm: connected and locked. handover: its tolerances. prepare: called with the
  mode and number of an attempt before it begins, while the arm holds.
  """

  arm: Arm
  cameras: Cameras
  operator: Device
  handover: HandoverConfig
  prepare: Callable[[str, int], None]
  bundle: str
  vla: str
  time_limit: int
  start_in_critical_phase: bool
  max_camera_age_s: float
  frozen_camera_timeout_s: float | None
  watchdog: WatchdogConfig | None


def build(path: str, clock: Clock, stack: contextlib.ExitStack) -> RobotSetup:
  """Builds what a station's file says, and connects the arm.

  Args:
    path: of the file.
    clock: the loop's.
    stack: closes it all.

  Raises:
    ValueError: the file or its arm's breaks a rule, by name.
    LockedError: another loop drives this arm.
    ArmError: it cannot be connected.
  """
  said, spec = station.load(path)
  stack.enter_context(lock.lock_arm(spec.name))
  arm = station.build_arm(path, clock)
  arm.connect()
  stack.callback(arm.disconnect)
  watchdog = None
  if said.watchdog_timeout_s is not None:
    watchdog = WatchdogConfig(
      factory='rlt_jax.robot.station:build_arm',
      arguments={'path': str(path)},
      timeout_s=said.watchdog_timeout_s,
      connect=said.watchdog_connect,
    )
  return RobotSetup(
    arm=arm,
    cameras=station.build_cameras(said, clock),
    operator=station.build_operator(said, clock),
    handover=HandoverConfig.for_arm(
      spec,
      align_tolerance=said.align_tolerance,
      keep_tolerance=said.keep_tolerance,
    ),
    prepare=lambda mode, number: None,
    bundle=said.bundle,
    vla=said.vla,
    time_limit=said.time_limit,
    start_in_critical_phase=said.start_in_critical_phase,
    max_camera_age_s=said.max_camera_age_s,
    frozen_camera_timeout_s=said.frozen_camera_timeout_s,
    watchdog=watchdog,
  )
