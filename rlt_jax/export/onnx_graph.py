"""The exported actor as an ONNX graph; needs the `onnx` package."""

from collections.abc import Sequence

import numpy as np

from rlt_jax.robot.policy.bundle import BundleSpec

# Old enough for the runtimes of robot computers.
_OPSET = 17


def build(layers: Sequence[np.ndarray], spec: BundleSpec) -> bytes:
  """Returns a graph that maps what `NumpyPolicy.act` does, to the same.

  Its inputs are z_rl [Z], proprio [P] as measured and reference [C, A], its
  output is chunk [C, A].

  Args:
    layers: kernels [in, out] and biases [out], in turns.
    spec: of the bundle.

  Raises:
    ModuleNotFoundError: `onnx` is missing; the text says what to install.
  """
  try:
    import onnx
    from onnx import helper, numpy_helper
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      'ONNX export needs the onnx package: pip install onnx onnxruntime'
    ) from None
  nodes, constants = [], []

  def constant(name: str, value) -> str:
    constants.append(numpy_helper.from_array(np.asarray(value), name))
    return name

  def node(kind: str, *inputs: str, **attributes) -> str:
    out = f'{kind.lower()}_{len(nodes)}'
    nodes.append(helper.make_node(kind, inputs, [out], **attributes))
    return out

  flat = constant('flat', np.array([-1], np.int64))
  mean = constant('proprio_mean', np.float32(spec.proprio_mean))
  std = constant('proprio_std', np.float32(spec.proprio_std))
  parts = ['z_rl', node('Div', node('Sub', 'proprio', mean), std)]
  if spec.reference_input:
    parts.append(node('Reshape', 'reference', flat))
  # A row: the first product wants a matrix.
  x = node('Reshape', node('Concat', *parts, axis=0),
           constant('row', np.array([1, -1], np.int64)))  # fmt: skip
  for i in range(0, len(layers), 2):
    x = node(
      'Gemm', x, constant(f'kernel_{i}', np.float32(layers[i])),
      constant(f'bias_{i}', np.float32(layers[i + 1])),
    )  # fmt: skip
    if i < len(layers) - 2:
      x = node('Relu', x)
  moves = np.ones((1, spec.action_dim), np.float32)
  moves[:, list(spec.frozen_action_dims)] = 0.0
  shape = (spec.chunk_size, spec.action_dim)
  x = node('Reshape', x, constant('shape', np.array(shape, np.int64)))
  x = node('Mul', x, constant('moves', moves))
  nodes.append(helper.make_node('Identity', [x], ['chunk']))
  number = onnx.TensorProto.FLOAT
  value = helper.make_tensor_value_info
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
    # The oldest that knows the opset: robot hosts run old runtimes.
    ir_version=8,
  )
  onnx.checker.check_model(model)
  return model.SerializeToString()
