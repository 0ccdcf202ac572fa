"""Writes a trained actor as a bundle that needs no JAX to run."""

import dataclasses
import json
import pathlib

import jax
from jax import export as jax_export
import jax.numpy as jnp
from safetensors.numpy import save

from rlt_jax import files
from rlt_jax.agents.agent import Agent, MlpPolicy
from rlt_jax.export import onnx_graph
from rlt_jax.robot.policy import bundle as reading
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import check_agreement, NumpyPolicy
from rlt_jax.types import Params

PLATFORMS = ('cpu', 'cuda')


def exportable(agent: Agent) -> MlpPolicy:
  """Returns how an agent's policy runs on a robot host.

  Raises:
    ValueError: the agent has no `mlp_policy`.
  """
  if agent.mlp_policy is None:
    raise ValueError(
      'The agent must have an mlp_policy to run on a robot: that of '
      f'{type(agent.config).__name__} has none.'
    )
  return agent.mlp_policy


def check_policy(spec: BundleSpec, agent: Agent) -> None:
  """Raises ValueError, by name, if a bundle is not of this agent's networks."""
  policy = exportable(agent)
  for name in (
    'hidden_dims', 'frozen_action_dims', 'reference_input', 'exploration_std',
    'exploration_noise',
  ):  # fmt: skip
    own, other = getattr(policy, name), getattr(spec, name)
    if own != other:
      raise ValueError(f"agent.{name} must be the bundle's {other}: {own}.")


def forward(policy: MlpPolicy, params: Params, spec: BundleSpec):
  """Returns the actor as a JAX function of (z_rl, proprio, reference)."""
  mean, std = (
    jnp.array(x, jnp.float32) for x in (spec.proprio_mean, spec.proprio_std)
  )

  def act(z_rl, proprio, reference):
    # Full precision also where the default is less, as on NVIDIA GPUs.
    with jax.default_matmul_precision('highest'):
      return policy.apply(params, z_rl, (proprio - mean) / std, reference)

  return act


def check_new(folder: str | pathlib.Path) -> None:
  """Raises a ValueError unless a bundle can be written to a new folder."""
  if pathlib.Path(folder).exists():
    raise ValueError(f'The bundle folder must be new: {folder}.')
  files.check_creatable(folder)


def write(
  folder: str | pathlib.Path,
  agent: Agent,
  params: Params,
  spec: BundleSpec,
  *,
  onnx: bool = False,
) -> float:
  """Writes bundle.json, policy.safetensors, policy.jaxexport, SHA256SUMS.

  Args:
    folder: new.
    agent: its policy is exported.
    params: of its policy, trained.
    spec: of the bundle.
    onnx: write policy.onnx too.

  Returns:
    The largest difference of the other forms from the NumPy one on random
    inputs, normalized units.

  Raises:
    ValueError: the folder exists, the agent does not fit the spec, or the
      forms differ by more than 1e-5; then nothing is left behind as a bundle.
    ModuleNotFoundError: `onnx` without its packages.
  """
  folder = pathlib.Path(folder)
  check_new(folder)
  check_policy(spec, agent)
  layers = agent.mlp_policy.layers(params)
  policy = NumpyPolicy(spec, layers)
  shapes = [
    jax.ShapeDtypeStruct(shape, jnp.float32)
    for shape in (
      (spec.z_dim,),
      (spec.proprio_dim,),
      (spec.chunk_size, spec.action_dim),
    )
  ]
  exported = jax_export.export(
    jax.jit(forward(agent.mlp_policy, params, spec)), platforms=PLATFORMS
  )(*shapes)
  difference = check_agreement('JAX', policy, exported.call)
  if onnx:
    graph = onnx_graph.build(layers, spec)
    difference = max(
      difference, check_agreement('ONNX', policy, onnx_policy.make(graph))
    )
  content = {
    reading.JAX_EXPORT: bytes(exported.serialize()),
    reading.WEIGHTS: save({f'{i:02d}': x for i, x in enumerate(layers)}),
    reading.RECORD: json.dumps(dataclasses.asdict(spec), indent=1) + '\n',
  }
  if onnx:
    content[reading.ONNX] = graph
  folder.mkdir(parents=True)
  for name, data in content.items():
    files.write_atomically(folder / name, data)
  reading.write_digests(folder)  # last, so that a folder with it is whole
  return difference


def load_exported(folder: str | pathlib.Path):
  """Returns the exported JAX form: (z_rl, proprio, reference) -> chunk."""
  content = reading.read_form(folder, reading.JAX_EXPORT)
  return jax_export.deserialize(bytearray(content)).call
