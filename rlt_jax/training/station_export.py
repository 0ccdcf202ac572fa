"""Makes a bundle for the arm of a station: an untrained policy for its VLA.

Joints, units and limits come from the arm's file; cameras and control rate from
the station's; sizes, action unit, normalization and fingerprints from the
metadata of the VLA's server.
"""

import os

import jax

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.export import bundle
from rlt_jax.robot import preflight
from rlt_jax.robot import station as station_lib
from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.station import Station
from rlt_jax.serving import schema, sync_client
from rlt_jax.serving.schema import ServingSpec
from rlt_jax.training import policy_export
from rlt_jax.training.config import PracticeConfig


def export(
  path: str,
  folder: str | os.PathLike[str],
  *,
  config: PracticeConfig,
  prompt: str,
  command: str,
  onnx: bool = False,
) -> float:
  """Writes the bundle; returns what `export.bundle.write` does.

  Args:
    path: of the station's file. Its VLA server must run; its arm, cameras and
      operator are not touched.
    folder: new.
    config: of practice; its task and VLA do not matter.
    prompt: the instruction that the VLA gets.
    command: command line that writes the bundle, recorded in it.
    onnx: write policy.onnx too.

  Raises:
    ValueError: a file breaks a rule, or the VLA is for other joints, cameras or
      another rate, each named.
    OSError, InvalidHandshake: no server there, or it refused the token.
  """
  station, spec = station_lib.load(path)
  with station_lib.naming(path):
    wire = _ask_server(station.vla)
    check_vla(station, spec, wire)
    agent = registry.make(
      config.agent_name,
      config.agent,
      Sizes(wire.z_dim, wire.proprio_dim, config.chunk_size, wire.action_dim),
    )
    record = make_spec(
      station,
      spec,
      wire,
      agent=agent,
      config=config,
      prompt=prompt,
      command=command,
    )
    station_lib.check_served(record, wire)
  params = agent.policy_params(agent.init(jax.random.PRNGKey(config.seed)))
  return bundle.write(folder, agent, params, record, onnx=onnx)


def check_vla(station: Station, spec: ArmSpec, wire: ServingSpec) -> None:
  """Raises a ValueError unless a VLA is for the arm and cameras of a station.

  The shipped VLA is for the simulated arm.
  """
  hint = 'The shipped VLA is for the simulated arm; another arm needs its own.'
  measured = len(preflight.proprio_names(spec))
  for name, own, served in (
    ('joint_names', spec.joint_names, wire.joint_names),
    ('camera_names', station.camera_names, wire.cameras),
    ('control_hz', station.control_hz, wire.control_hz),
    ('proprio_dim', measured, wire.proprio_dim),
    ('proprio_mean', measured, len(wire.proprio_mean)),
    ('proprio_std', measured, len(wire.proprio_std)),
  ):
    if own != served:
      raise ValueError(
        f"{name} of the VLA must be the station's {own}: {served}. {hint}"
      )


def make_spec(
  station: Station,
  spec: ArmSpec,
  wire: ServingSpec,
  *,
  agent: Agent,
  config: PracticeConfig,
  prompt: str,
  command: str,
) -> BundleSpec:
  """Returns the settings of a bundle for the station's arm.

  Args:
    station: names cameras and rate.
    spec: the arm's file.
    wire: metadata of the VLA's server.
    agent: made for their sizes.
    config: of practice.
    prompt: the instruction.
    command: recorded in the bundle.

  Raises:
    ValueError: the agent cannot run on a robot host, or a field breaks its
      rule.
  """
  return BundleSpec(
    **policy_export.policy_fields(agent, config),
    z_dim=wire.z_dim,
    control_hz=station.control_hz,
    joint_names=spec.joint_names,
    joint_units=spec.joint_units,
    joint_low=spec.joint_low,
    joint_high=spec.joint_high,
    reach=spec.max_step,
    action_mode=wire.action_mode,
    action_scale=wire.action_scale,
    proprio_names=preflight.proprio_names(spec),
    proprio_mean=wire.proprio_mean,
    proprio_std=wire.proprio_std,
    cameras=station.camera_names,
    prompt=prompt,
    vla_fingerprint=wire.vla_fingerprint,
    token_fingerprint=wire.token_fingerprint,
    run=policy_export.origin('', station.name, 0, command),
  )


def _ask_server(text: str) -> ServingSpec:
  address, token_file = sync_client.read_address(text)
  token = sync_client.read_token(token_file)
  try:
    with sync_client.SyncClient(address, token=token) as client:
      spec = schema.read_metadata(client.metadata)
  except sync_client.NO_SERVER as error:
    raise ValueError(
      f'The VLA at {address} must answer: {sync_client.describe(error)}.'
    ) from None
  schema.check_has_token(spec)
  return spec
