"""The exported actor as an ONNX graph; needs the `onnx` package."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlt_jax.robot.policy.bundle import BundleSpec

# Old enough for the ONNX runtimes of robot computers.
_OPSET = 17


def build(layers: Sequence[np.ndarray], spec: BundleSpec) -> bytes:
  """Returns a graph that computes what `NumpyPolicy.act` does.

  Its inputs are z_rl [Z], proprio [P] as measured and reference [C, A], its
  output is chunk [C, A].

  Args:
    layers: kernels [in, out] and biases [out], alternating.
    spec: of the bundle.

  Raises:
    ModuleNotFoundError: `onnx` is missing; the message says what to install.
  """
  try:
    import onnx
    from onnx import helper
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      'ONNX export needs the onnx package: pip install onnx onnxruntime'
    ) from None
  nodes, constants = _nodes(layers, spec)
  number = onnx.TensorProto.FLOAT
  value = helper.make_tensor_value_info
  shape = (spec.chunk_size, spec.action_dim)
  graph = helper.make_graph(
    nodes,
    'actor',
    [
      value('z_rl', number, (spec.z_dim,)),
      value('proprio', number, (spec.proprio_dim,)),
      value('reference', number, shape),
    ],
    [value('chunk', number, shape)],
    constants,
  )
  model = helper.make_model(
    graph,
    opset_imports=[helper.make_opsetid('', _OPSET)],
    # The oldest that has the opset: robot hosts have old runtimes.
    ir_version=8,
  )
  onnx.checker.check_model(model)
  return model.SerializeToString()


def _nodes(
  layers: Sequence[np.ndarray], spec: BundleSpec
) -> tuple[list[Any], list[Any]]:
  """Returns the graph's nodes and constants."""
  from onnx import helper, numpy_helper

  nodes, constants = [], []

  def constant(name: str, value: Any) -> str:
    constants.append(numpy_helper.from_array(np.asarray(value), name))
    return name

  def node(kind: str, *inputs: str, **attributes: Any) -> str:
    out = f'{kind.lower()}_{len(nodes)}'
    nodes.append(helper.make_node(kind, inputs, [out], **attributes))
    return out

  mean = constant('proprio_mean', np.float32(spec.proprio_mean))
  std = constant('proprio_std', np.float32(spec.proprio_std))
  parts = ['z_rl', node('Div', node('Sub', 'proprio', mean), std)]
  if spec.reference_input:
    flat = constant('flat', np.array([-1], np.int64))
    parts.append(node('Reshape', 'reference', flat))
  # One row, as Gemm multiplies matrices.
  row = constant('row', np.array([1, -1], np.int64))
  x = node('Reshape', node('Concat', *parts, axis=0), row)
  for i in range(0, len(layers), 2):
    x = node(
      'Gemm', x, constant(f'kernel_{i}', np.float32(layers[i])),
      constant(f'bias_{i}', np.float32(layers[i + 1])),
    )  # fmt: skip
    if i < len(layers) - 2:
      x = node('Relu', x)
  moves = np.ones((1, spec.action_dim), np.float32)
  moves[:, list(spec.frozen_action_dims)] = 0.0
  shape = np.array((spec.chunk_size, spec.action_dim), np.int64)
  x = node('Reshape', x, constant('shape', shape))
  x = node('Mul', x, constant('moves', moves))
  nodes.append(helper.make_node('Identity', [x], ['chunk']))
  return nodes, constants
