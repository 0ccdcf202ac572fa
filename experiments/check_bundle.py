"""Describes a bundle and measures how fast this host can run it.

  OMP_NUM_THREADS=1 python -m experiments.check_bundle --bundle=bundles/a

It needs NumPy and safetensors. If JAX or ONNX Runtime is installed too, that
form of the policy is also run and compared.

Cost: some seconds.
"""

from absl import flags

from rlt_jax.export import check
from rlt_jax.robot.policy import bundle as bundle_lib

from . import launch

_BUNDLE = launch.define_path(
  'bundle', None, 'Folder of the bundle.', required=True
)
_CALLS = flags.DEFINE_integer(
  'calls', 2000, 'Timed calls of each form.', lower_bound=1
)


def main() -> None:
  """Reads, compares and times the bundle."""
  with launch.user_errors():
    spec, _ = bundle_lib.load(_BUNDLE.value)
    print(check.describe(spec))
    forms, differences = check.open_forms(_BUNDLE.value)
  print(differences)
  for name, form in forms.items():
    p50, p99, worst = check.latency(form, spec, _CALLS.value)
    print(f'{name}: p50 {p50:.3f} ms, p99 {p99:.3f} ms, worst {worst:.3f} ms')


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
