"""A station's file: the arm, cameras, operator, VLA and policy of one robot.

No field has a default, and the arm's file holds every safety limit: a limit
that was never written down cannot be checked.
"""

from collections.abc import Mapping
import dataclasses
import importlib
import math
import pathlib
from typing import Any

from rlt_jax import config as config_lib
from rlt_jax.robot import arm as arm_lib
from rlt_jax.robot.arm import Arm, ArmSpec
from rlt_jax.robot.arms import factory
from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.operator import devices
from rlt_jax.robot.operator.events import Device
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.serving import schema
from rlt_jax.serving.client import VlaClient
from rlt_jax.serving.schema import ServingSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Station:
  """Contents of a station's file; paths are relative to it.

  An arm, cameras or operator that is not built in is named as
  'package.module:function'. The function is called with the arm's spec, the
  camera names or nothing, then `clock=` and the arguments.
  """

  name: str
  arm: str  # 'trossen', 'piper', 'fake' or a function
  arm_arguments: Mapping[str, Any]
  arm_spec: str  # the arm's file
  cameras: str  # 'fake' or a function
  camera_names: tuple[str, ...]  # in the bundle's order
  camera_arguments: Mapping[str, Any]
  max_camera_age_s: float  # older images make the arm hold
  # s with the same image, then the arm holds; None: cameras without noise
  frozen_camera_timeout_s: float | None
  vla: str  # address, such as ws://127.0.0.1:8000
  bundle: str  # folder
  time_limit: int  # control steps of an episode
  start_in_critical_phase: bool  # no approach before the critical phase
  operator: str  # a kind of `operator.devices`, or a function
  operator_arguments: Mapping[str, Any]
  align_tolerance: tuple[float, ...]  # [A], see HandoverConfig
  keep_tolerance: tuple[float, ...]  # [A]
  stow_after_hold_s: float | None  # None: never, see StopConfig
  disable_after_stow_s: float | None  # None: never
  watchdog_timeout_s: float | None  # None: no watchdog
  watchdog_connect: str  # 'start' or 'fault', see WatchdogConfig

  def __post_init__(self):
    for name in ('max_camera_age_s', 'time_limit'):
      value = getattr(self, name)
      if not 0 < value < math.inf:
        raise ValueError(f'{name} must be positive: {value}.')
    for name in (
      'frozen_camera_timeout_s',
      'stow_after_hold_s',
      'disable_after_stow_s',
      'watchdog_timeout_s',
    ):
      value = getattr(self, name)
      if value is not None and not 0 < value < math.inf:
        raise ValueError(f'{name} must be positive or null: {value}.')
    for name, built_in in (
      ('arm', set(factory.KINDS)),
      ('cameras', {'fake'}),
      ('operator', set(devices.KINDS)),
    ):
      value = getattr(self, name)
      if value not in built_in and ':' not in value:
        raise ValueError(
          f"{name} must be one of {sorted(built_in)} or 'module:function': "
          f'{value!r}.'
        )
    if not self.camera_names or len(set(self.camera_names)) != len(
      self.camera_names
    ):
      raise ValueError(f'camera_names must be distinct: {self.camera_names}.')


def load(path: str | pathlib.Path) -> tuple[Station, ArmSpec]:
  """Reads a station's file and its arm's.

  Raises:
    ValueError: a field is missing or unknown, or breaks its rule, in either;
      the text names file and field.
  """
  path = pathlib.Path(path)
  try:
    station = config_lib.from_json(Station, path.read_text())
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None
  station = dataclasses.replace(
    station,
    arm_spec=str(path.parent / station.arm_spec),
    bundle=str(path.parent / station.bundle),
  )
  spec = arm_lib.load_spec(station.arm_spec)
  for name in ('align_tolerance', 'keep_tolerance'):
    if len(getattr(station, name)) != spec.action_dim:
      raise ValueError(
        f'{path}: {name} must have an entry per joint, {spec.action_dim}: '
        f'{len(getattr(station, name))}.'
      )
  return station, spec


def build_arm(path: str, clock: Clock | None = None) -> Arm:
  """Builds the arm of a station's file; also for the watchdog's process."""
  station, spec = load(path)
  return factory.build(
    station.arm,
    station.arm_arguments,
    spec=spec,
    clock=clock or MonotonicClock(),
  )


def build_cameras(station: Station, clock: Clock) -> Cameras:
  """Builds the cameras of a station."""
  arguments = dict(station.camera_arguments)
  if station.cameras == 'fake':
    from rlt_jax.robot.arms.fake_cameras import FakeCameras

    return FakeCameras(station.camera_names, clock=clock, **arguments)
  make = _function(station.cameras)
  return make(station.camera_names, clock=clock, **arguments)


def build_operator(station: Station, spec: ArmSpec, clock: Clock) -> Device:
  """Builds the operator's device of a station; opens nothing.

  Raises:
    ValueError: an argument of the device is missing, unknown or wrong.
  """
  return devices.build(
    station.operator, station.operator_arguments, spec=spec, clock=clock
  )


def expected_of(bundle: BundleSpec) -> dict[str, Any]:
  """Returns the metadata that a VLA's server must have for the bundle."""
  return {
    'cameras': bundle.cameras,
    'proprio_dim': bundle.proprio_dim,
    'action_dim': bundle.action_dim,
    'z_dim': bundle.z_dim,
    'joint_names': bundle.joint_names,
    'action_mode': bundle.action_mode,
    'action_scale': bundle.action_scale,
    'vla_fingerprint': bundle.vla_fingerprint,
    'token_fingerprint': bundle.token_fingerprint,
  }


def connect_vla(
  address: str, bundle: BundleSpec, timeout_s: float
) -> tuple[VlaClient, ServingSpec]:
  """Connects to the bundle's VLA; close the client after use.

  Raises:
    MessageError: the server does not answer in time, or serves another VLA.
    ValueError: the VLA's chunk is shorter than the policy's.
  """
  specs: list[ServingSpec] = []
  client = VlaClient(
    address,
    expected=expected_of(bundle),
    parse=lambda message: schema.read_reply(specs[0], message),
  )
  try:
    specs.append(schema.read_metadata(client.wait_ready(timeout_s)))
    if specs[0].horizon < bundle.chunk_size:
      raise ValueError(
        f"The VLA's horizon must be at least the policy's chunk, "
        f'{bundle.chunk_size}: {specs[0].horizon}.'
      )
  except BaseException:
    client.close()
    raise
  return client, specs[0]


def _function(place: str) -> Any:
  module, _, name = place.partition(':')
  return getattr(importlib.import_module(module), name)
