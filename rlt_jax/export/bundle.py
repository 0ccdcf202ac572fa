"""Writes a trained actor as a bundle that needs no JAX to run."""

import dataclasses
import json
import pathlib

import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from rlt_jax import files
from rlt_jax.export import onnx_graph
from rlt_jax.robot.policy import bundle as reading
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import agree, NumpyPolicy
from rlt_jax.types import Params

PLATFORMS = ('cpu', 'cuda')


def actor_layers(actor_params: Params, spec: BundleSpec) -> list[np.ndarray]:
  """Returns the actor's kernels [in, out] and biases [out], in turns.

  The actor has no weights for idle entries; here they are there, and zero, so
  that a host reads and writes whole chunks.

  Args:
    actor_params: of `agent.Networks.init_actor`, trained.
    spec: what they belong to.
  """
  mlp = actor_params['params']['_Mlp_0']
  layers = []
  for i in range(len(mlp)):
    layers += [mlp[f'Dense_{i}']['kernel'], mlp[f'Dense_{i}']['bias']]
  layers = [np.asarray(x, np.float32) for x in layers]
  if spec.reference_input:
    state = spec.z_dim + spec.proprio_dim
    rows = _widened(layers[0][state:], spec)
    layers[0] = np.concatenate([layers[0][:state], rows])
  # Safetensors writes an array as it lies in memory, whatever its strides say.
  layers[-2] = np.ascontiguousarray(_widened(layers[-2].T, spec).T)
  layers[-1] = _widened(layers[-1], spec)
  return layers


def _widened(rows: np.ndarray, spec: BundleSpec) -> np.ndarray:
  """Returns rows [C * moving entries, ...] as [C * A, ...], idle ones zero."""
  moving = np.setdiff1d(np.arange(spec.action_dim), spec.frozen_action_dims)
  if len(rows) != spec.chunk_size * len(moving):
    raise ValueError(
      f'The actor must have {spec.chunk_size} steps of {len(moving)} moving '
      f'entries: {len(rows)} rows.'
    )
  rest = rows.shape[1:]
  wide = np.zeros((spec.chunk_size, spec.action_dim, *rest), np.float32)
  wide[:, moving] = rows.reshape((spec.chunk_size, len(moving), *rest))
  return wide.reshape((-1, *rest))


def forward(layers, spec: BundleSpec):
  """Returns the actor as a JAX function of (z_rl, proprio, reference)."""
  mean, std = (
    jnp.array(x, jnp.float32) for x in (spec.proprio_mean, spec.proprio_std)
  )
  idle = np.array(spec.frozen_action_dims, int)

  def act(z_rl, proprio, reference):
    x = [z_rl, (proprio - mean) / std, reference.ravel()]
    h = jnp.concatenate(x if spec.reference_input else x[:2])
    for i in range(0, len(layers), 2):
      h = jnp.dot(h, layers[i], precision='highest') + layers[i + 1]
      h = jax.nn.relu(h) if i < len(layers) - 2 else h
    return h.reshape(spec.chunk_size, spec.action_dim).at[:, idle].set(0.0)

  return act


def write(
  folder: str | pathlib.Path,
  actor_params: Params,
  spec: BundleSpec,
  *,
  onnx: bool = False,
) -> float:
  """Writes bundle.json, policy.safetensors and policy.jaxexport.

  Args:
    folder: new.
    actor_params: of `agent.Networks.init_actor`, trained.
    spec: what they belong to; its digest is filled in here.
    onnx: write policy.onnx too.

  Returns:
    The largest difference of the other forms from the NumPy one on random
    inputs, normalised units.

  Raises:
    ValueError: the folder exists, layers do not fit the spec, or the forms
      differ by more than 1e-5; then nothing is left behind as a bundle.
    ModuleNotFoundError: `onnx` without its packages.
  """
  folder = pathlib.Path(folder)
  if folder.exists():
    raise ValueError(f'The bundle folder must be new: {folder}.')
  layers = actor_layers(actor_params, spec)
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
    jax.jit(forward(layers, spec)), platforms=PLATFORMS
  )(*shapes)
  apart = agree('JAX', policy, exported.call)
  if onnx:
    graph = onnx_graph.build(layers, spec)
    apart = max(apart, agree('ONNX', policy, onnx_policy.make(graph)))
  folder.mkdir(parents=True)
  if onnx:
    (folder / reading.ONNX).write_bytes(graph)
  (folder / reading.JAX_EXPORT).write_bytes(exported.serialize())
  save_file(
    {f'{i:02d}': x for i, x in enumerate(layers)}, folder / reading.WEIGHTS
  )
  digest = reading.sha256(folder / reading.WEIGHTS)
  record = dataclasses.asdict(dataclasses.replace(spec, weights_sha256=digest))
  # Last, so that a folder with a record is whole.
  text = json.dumps(record, indent=1) + '\n'
  files.write_atomically(folder / reading.RECORD, text)
  return apart


def load_exported(folder: str | pathlib.Path):
  """Returns the exported JAX form: (z_rl, proprio, reference) -> chunk."""
  path = pathlib.Path(folder) / reading.JAX_EXPORT
  return jax_export.deserialize(path.read_bytes()).call
