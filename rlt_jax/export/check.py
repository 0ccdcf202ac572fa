"""Describes a bundle and runs every form of it that this host can run.

NumPy and safetensors are enough: JAX and ONNX Runtime are used where they are
installed.
"""

from collections.abc import Callable
import os
import pathlib
import time

import numpy as np

from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import check_agreement, NumpyPolicy

# (z_rl [Z], proprio [P] as measured, reference [C, A]) -> chunk [C, A].
Form = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_WARMUP_CALLS = 100


def describe(spec: BundleSpec) -> str:
  """Returns a bundle's origin, sizes and joints as lines of text."""
  run = spec.run
  lines = [
    f'{run.get("task")}, {run.get("env_steps")} control steps of practice, '
    f'{run.get("created")}, commit {run.get("commit")}',
    f'chunk [{spec.chunk_size}, {spec.action_dim}] at {spec.control_hz} Hz, '
    f'action mode {spec.action_mode}; z_rl [{spec.z_dim}], cameras '
    f'{", ".join(spec.cameras)}; "{spec.prompt}"',
    f'VLA {spec.vla_fingerprint[:12]}, token {spec.token_fingerprint[:12]}',
  ]
  for i, name in enumerate(spec.joint_names):
    frozen = ', frozen' if i in spec.frozen_action_dims else ''
    lines.append(
      f'  {name:14s} {spec.joint_low[i]:7.3f} to {spec.joint_high[i]:6.3f} '
      f'{spec.joint_units[i]}, one unit {spec.action_scale[i]:.4f}{frozen}'
    )
  return '\n'.join(lines)


def open_forms(folder: str | os.PathLike[str]) -> tuple[dict[str, Form], str]:
  """Opens a bundle in every form that this host can run.

  Args:
    folder: the bundle.

  Returns:
    name -> form, and how far each is from the NumPy form, as lines of text.

  Raises:
    ValueError: the bundle is not whole, or a form differs by more than 1e-5.
  """
  spec, layers = bundle_lib.load(folder)
  policy = NumpyPolicy(spec, layers)
  threads = os.environ.get('OMP_NUM_THREADS', 'unset')
  forms: dict[str, Form] = {f'NumPy (OMP_NUM_THREADS {threads})': policy.act}
  lines = []

  def add(name: str, form: Form) -> None:
    difference = check_agreement(name, policy, form)
    forms[name] = form
    lines.append(f'NumPy and {name} differ by at most {difference:.1g} units.')

  try:
    import jax

    from rlt_jax.export import bundle as export_lib
  except ImportError:
    lines.append('JAX is not installed: its form is not checked.')
  else:
    add('JAX', jax.jit(export_lib.load_exported(folder)))
  if (pathlib.Path(folder) / bundle_lib.ONNX).exists():
    try:
      form = onnx_policy.load(folder)
    except ImportError as error:
      lines.append(str(error))
    else:
      add('ONNX Runtime', form)
  return forms, '\n'.join(lines)


def latency(
  form: Form, spec: BundleSpec, calls: int
) -> tuple[float, float, float]:
  """Returns p50, p99 and the worst of single calls, ms.

  Args:
    form: of the bundle.
    spec: gives the shapes.
    calls: timed calls, at least 1; some more warm it up first.
  """
  if calls < 1:
    raise ValueError(f'calls must be at least 1: {calls}.')
  z_rl = np.zeros(spec.z_dim, np.float32)
  proprio = np.float32(spec.proprio_mean)
  reference = np.zeros((spec.chunk_size, spec.action_dim), np.float32)
  spent = []
  for _ in range(calls + _WARMUP_CALLS):
    start = time.perf_counter()
    np.asarray(form(z_rl, proprio, reference))
    spent.append(1e3 * (time.perf_counter() - start))
  p50, p99, worst = np.percentile(spent[_WARMUP_CALLS:], [50, 99, 100])
  return float(p50), float(p99), float(worst)
