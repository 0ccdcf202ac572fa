"""Builds the objects that a station's file describes, under one lock."""

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
  """A built station; fields as in `station.Station`.

  arm: connected and locked. handover: tolerances between arm and operator.
  prepare: called with the mode and number of an episode before it, while the
  arm holds.
  """

  arm: Arm
  cameras: Cameras
  operator: Device
  handover: HandoverConfig
  prepare: Callable[[str, int], None]
  bundle: str
  vla: str
  control_hz: float
  time_limit: int
  start_in_critical_phase: bool
  max_camera_age_s: float
  frozen_camera_timeout_s: float | None
  stow_after_hold_s: float | None
  disable_after_stow_s: float | None
  watchdog: WatchdogConfig | None


def build(path: str, clock: Clock, stack: contextlib.ExitStack) -> RobotSetup:
  """Builds a station from its file, and connects the arm.

  Args:
    path: of the file.
    clock: the loop's.
    stack: closes everything.

  Raises:
    ValueError: the file or its arm's breaks a rule, by name.
    LockedError: another process uses this arm.
    ArmError: it cannot be connected.
  """
  fields, spec = station.load(path)
  stack.enter_context(lock.lock_arm(spec.name))
  # The arm comes last: some have power as soon as they are connected.
  arm = station.build_arm(path, clock)
  with station.naming(path):
    operator = station.build_operator(fields, spec, clock)
    cameras = station.build_cameras(fields, clock)
  stack.callback(getattr(cameras, 'close', lambda: None))
  arm.connect()
  stack.callback(arm.disconnect)
  watchdog = None
  if fields.watchdog_timeout_s is not None:
    watchdog = WatchdogConfig(
      factory='rlt_jax.robot.station:build_arm',
      arguments={'path': str(path)},
      timeout_s=fields.watchdog_timeout_s,
      connect=fields.watchdog_connect,
    )
  return RobotSetup(
    arm=arm,
    cameras=cameras,
    operator=operator,
    handover=HandoverConfig.for_arm(
      spec,
      align_tolerance=fields.align_tolerance,
      keep_tolerance=fields.keep_tolerance,
    ),
    prepare=lambda mode, number: None,
    bundle=fields.bundle,
    vla=fields.vla,
    control_hz=fields.control_hz,
    time_limit=fields.time_limit,
    start_in_critical_phase=fields.start_in_critical_phase,
    max_camera_age_s=fields.max_camera_age_s,
    frozen_camera_timeout_s=fields.frozen_camera_timeout_s,
    stow_after_hold_s=fields.stow_after_hold_s,
    disable_after_stow_s=fields.disable_after_stow_s,
    watchdog=watchdog,
  )
