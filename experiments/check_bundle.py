"""Says what a bundle is, and whether and how fast this host can run it.

  OMP_NUM_THREADS=1 python -m experiments.check_bundle --bundle=bundles/a

NumPy and safetensors are enough. Where JAX or ONNX Runtime is installed too,
its form is run and compared.
"""

import os
import pathlib
import time

from absl import app, flags
import numpy as np

from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.numpy_policy import agree, NumpyPolicy

_BUNDLE = flags.DEFINE_string('bundle', None, 'Folder.', required=True)
_CALLS = flags.DEFINE_integer('calls', 2000, 'Timed calls.')


def latency(call, spec) -> tuple[float, float, float]:
  """Returns p50, p99 and the worst of single calls, ms."""
  z_rl = np.zeros(spec.z_dim, np.float32)
  proprio = np.float32(spec.proprio_mean)
  reference = np.zeros((spec.chunk_size, spec.action_dim), np.float32)
  spent = []
  for _ in range(_CALLS.value + 100):
    start = time.perf_counter()
    np.asarray(call(z_rl, proprio, reference))
    spent.append(1e3 * (time.perf_counter() - start))
  p50, p99, worst = np.percentile(spent[100:], [50, 99, 100])
  return float(p50), float(p99), float(worst)


def compare(name: str, policy: NumpyPolicy, other) -> None:
  """Prints how far another form is from NumPy; too far is an error."""
  try:
    apart = agree(name, policy, other)
  except ValueError as error:
    raise SystemExit(f'error: {error}') from None
  print(f'NumPy and {name} differ by at most {apart:.1g} units.')


def main(argv: list[str]) -> None:
  """Reads, prints, runs."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  try:
    spec, layers = bundle_lib.load(_BUNDLE.value)
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from None
  policy = NumpyPolicy(spec, layers)
  print(
    f'{spec.run["task"]}, {spec.run["env_steps"]} control steps of practice, '
    f'{spec.run["created"]}, commit {spec.run["commit"]}'
  )
  print(f'chunk [{spec.chunk_size}, {spec.action_dim}] at '
        f'{spec.control_hz} Hz, '
        f'action mode {spec.action_mode}; z_rl [{spec.z_dim}], cameras '
        f'{", ".join(spec.cameras)}; "{spec.prompt}"')  # fmt: skip
  print(f'VLA {spec.vla_fingerprint[:12]}, token {spec.token_fingerprint[:12]}')
  for i, name in enumerate(spec.joint_names):
    idle = ', stays' if i in spec.frozen_action_dims else ''
    print(
      f'  {name:14s} {spec.joint_low[i]:7.3f} to {spec.joint_high[i]:6.3f} '
      f'{spec.joint_units[i]}, one unit {spec.action_scale[i]:.4f}{idle}'
    )
  threads = os.environ.get('OMP_NUM_THREADS', 'unset')
  forms = {f'NumPy (OMP_NUM_THREADS {threads})': policy.act}
  try:
    from rlt_jax.export import bundle as export_lib
  except ImportError:
    print('JAX is not installed: only NumPy is checked.')
  else:
    exported = export_lib.load_exported(_BUNDLE.value)
    compare('JAX', policy, exported)
    import jax

    forms['JAX'] = jax.jit(exported)
  if (pathlib.Path(_BUNDLE.value) / bundle_lib.ONNX).exists():
    try:
      forms['ONNX Runtime'] = onnx_policy.load(_BUNDLE.value)
    except ImportError as error:
      print(error)
    else:
      compare('ONNX', policy, forms['ONNX Runtime'])
  for name, call in forms.items():
    p50, p99, worst = latency(call, spec)
    print(f'{name}: p50 {p50:.3f} ms, p99 {p99:.3f} ms, worst {worst:.3f} ms')


if __name__ == '__main__':
  app.run(main)
