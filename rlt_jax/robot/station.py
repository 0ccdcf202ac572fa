"""A station's file: the arm, cameras, operator, VLA and policy of one robot.

No field has a default, and the arm's file holds every safety limit: a limit
that was never written down cannot be checked.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import math
import pathlib
from typing import Any

from rlt_jax import config as config_lib
from rlt_jax.robot import arm as arm_lib
from rlt_jax.robot import named_parts
from rlt_jax.robot.arm import Arm, ArmSpec
from rlt_jax.robot.arms import factory
from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.control import watchdog
from rlt_jax.robot.operator import devices
from rlt_jax.robot.operator.events import Device
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.serving import schema, sync_client
from rlt_jax.serving.client import VlaClient
from rlt_jax.serving.schema import ServingSpec

_CAMERAS = {
  'fake': 'rlt_jax.robot.arms.fake_cameras:FakeCameras',
  'opencv': 'rlt_jax.robot.arms.opencv_cameras:open_cameras',
  'realsense': 'rlt_jax.robot.arms.realsense_cameras:open_cameras',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Station:
  """Contents of a station's file; paths are relative to it.

  An arm, cameras or operator that is not built in is named as
  'package.module:function'. The function is called with the arm's spec, the
  camera names or nothing, then `clock=` and the arguments.
  """

  name: str
  arm: str  # 'trossen', 'piper', 'lerobot', 'fake' or a function
  arm_arguments: Mapping[str, Any]
  arm_spec: str  # the arm's file
  cameras: str  # 'opencv', 'realsense', 'fake' or a function
  camera_names: tuple[str, ...]  # in the bundle's order
  camera_arguments: Mapping[str, Any]
  control_hz: float  # control steps a second, as in the bundle
  max_camera_age_s: float  # older images make the arm hold
  # s with the same image, then the arm holds; None: cameras without noise
  frozen_camera_timeout_s: float | None
  # Address, such as ws://127.0.0.1:8000; '?token_file=PATH' after it names the
  # file with the token that the server asks for.
  vla: str
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
    for name in ('max_camera_age_s', 'time_limit', 'control_hz'):
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
      ('cameras', set(_CAMERAS)),
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
    for name in ('align_tolerance', 'keep_tolerance'):
      value = getattr(self, name)
      if not all(0.0 < x < math.inf for x in value):
        raise ValueError(f'{name} must be positive: {value}.')
    if self.watchdog_connect not in watchdog.CONNECT:
      raise ValueError(
        f'watchdog_connect must be one of {watchdog.CONNECT}: '
        f'{self.watchdog_connect!r}.'
      )
    sync_client.check_address(sync_client.read_address(self.vla)[0])


def load(path: str | pathlib.Path) -> tuple[Station, ArmSpec]:
  """Reads a station's file and its arm's.

  Raises:
    ValueError: a field is missing or unknown, or breaks its rule, in either;
      the text names file and field.
  """
  path = pathlib.Path(path)
  try:
    station = config_lib.from_json(Station, path.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None
  station = dataclasses.replace(
    station,
    arm_spec=str(path.parent / station.arm_spec),
    bundle=str(path.parent / station.bundle),
    vla=sync_client.resolve_token_file(station.vla, path.parent),
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
  """Builds the arm of a station's file; also for the watchdog's process.

  Raises:
    ValueError: as `load`, or arguments that do not fit.
  """
  station, spec = load(path)
  with naming(path):
    return factory.build(
      station.arm,
      station.arm_arguments,
      spec=spec,
      clock=clock or MonotonicClock(),
    )


def build_cameras(station: Station, clock: Clock) -> Cameras:
  """Builds the cameras of a station, and opens them.

  Raises:
    ValueError: no such function, or arguments that do not fit it.
  """
  place = _CAMERAS.get(station.cameras, station.cameras)
  return named_parts.call(
    named_parts.load(place, 'cameras'),
    'camera_arguments',
    station.camera_names,
    clock=clock,
    arguments=station.camera_arguments,
  )


def build_operator(station: Station, spec: ArmSpec, clock: Clock) -> Device:
  """Builds the operator's device of a station; opens nothing.

  Raises:
    ValueError: an argument of the device is missing, unknown or wrong.
  """
  return named_parts.call(
    devices.build,
    'operator_arguments',
    station.operator,
    station.operator_arguments,
    spec=spec,
    clock=clock,
    arguments={},
  )


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
  """Puts a file's name before the text of a ValueError."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


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
    ValueError: the VLA's chunk is shorter than the policy needs, its rate or
      normalization is another, or the token's file is not there.
  """
  specs: list[ServingSpec] = []
  address, token_file = sync_client.read_address(address)
  client = VlaClient(
    address,
    token=sync_client.read_token(token_file),
    expected=expected_of(bundle),
    parse=lambda message: schema.read_reply(specs[0], message),
  )
  try:
    specs.append(schema.read_metadata(client.wait_ready(timeout_s)))
    check_served(bundle, specs[0])
  except BaseException:
    client.close()
    raise
  return client, specs[0]


def check_served(bundle: BundleSpec, wire: ServingSpec) -> None:
  """Raises a ValueError unless a VLA's chunks and numbers fit the policy's.

  Args:
    bundle: of the policy.
    wire: of the server, which may leave out rate and normalization.
  """
  needed = bundle.chunk_size + bundle.inference_delay
  if wire.horizon < needed:
    raise ValueError(
      "The VLA's horizon must be at least the policy's chunk_size and "
      f'inference_delay together, {needed}: {wire.horizon}.'
    )
  stated = {
    name: getattr(wire, name)
    for name in ('control_hz', 'proprio_mean', 'proprio_std')
    if getattr(wire, name)
  }
  schema.check(stated, **{name: getattr(bundle, name) for name in stated})
