"""The exported actor in ONNX Runtime."""

from collections.abc import Callable
import pathlib

import numpy as np

from rlt_jax.robot.policy import bundle as bundle_lib

# (z_rl [Z], proprio [P], reference [C, A]) -> chunk [C, A].
Act = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def load(folder: str | pathlib.Path) -> Act:
  """Returns the ONNX form of a bundle; see `make`.

  Raises:
    ValueError: the bundle has none, or is not whole.
  """
  return make(bundle_lib.read_form(folder, bundle_lib.ONNX))


def make(graph: bytes) -> Act:
  """Returns a graph as a function with `NumpyPolicy.act`'s shapes and units.

  It runs on one thread, because several would wait for each other longer than
  they compute.

  Raises:
    ModuleNotFoundError: `onnxruntime` is missing; the text says what to
      install.
  """
  try:
    import onnxruntime
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      'The ONNX form needs ONNX Runtime: pip install onnxruntime'
    ) from None
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = options.inter_op_num_threads = 1
  session = onnxruntime.InferenceSession(
    graph, options, providers=['CPUExecutionProvider']
  )

  def act(z_rl, proprio, reference):
    return session.run(
      None,
      {
        'z_rl': np.asarray(z_rl, np.float32),
        'proprio': np.asarray(proprio, np.float32),
        'reference': np.asarray(reference, np.float32),
      },
    )[0]

  return act
