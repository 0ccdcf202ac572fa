"""Exports a run's newest policy as a bundle for a robot host.

  python -m experiments.export_policy --workdir=runs/a --out=bundles/a
  python -m experiments.export_policy --fresh --out=bundles/fresh

With --fresh it exports a policy before its first update, for practice that
starts on the arm. `--set`, `--task`, `--vla` and `--agent` are then that
practice's settings.

The folder holds bundle.json, policy.safetensors (for NumPy),
policy.jaxexport (for JAX, CPU and CUDA) and with `--onnx` policy.onnx. The
forms are checked against each other first.
"""

from absl import flags

from experiments import launch
from rlt_jax.training import policy_export

_WORKDIR = launch.define_workdir(
  'Folder of the run; not with --fresh.', required=False
)
_FRESH = flags.DEFINE_bool(
  'fresh', False, 'Export an untrained policy instead of that of a run.'
)
_SETTINGS = launch.define_settings()
_OUT = flags.DEFINE_string(
  'out', None, 'New folder for the bundle.', required=True
)
_ONNX = flags.DEFINE_bool('onnx', False, 'Also write policy.onnx.')
_ASSETS = launch.define_assets()


def main() -> None:
  """Writes the bundle."""
  with launch.user_errors():
    if _FRESH.value == bool(_WORKDIR.value):
      raise ValueError('Either --workdir or --fresh must be given.')
    if _FRESH.value:
      source = policy_export.fresh(_SETTINGS.make_config(), _ASSETS.value)
    elif given := _SETTINGS.given():
      raise ValueError(
        f'A run has its own settings: only with --fresh can be given {given}.'
      )
    else:
      source = policy_export.from_run(_WORKDIR.value, _ASSETS.value)
    difference = policy_export.export(
      source, _OUT.value, command=launch.command_line(), onnx=_ONNX.value
    )
  print(
    f'Bundle: {_OUT.value}. The NumPy, JAX and ONNX forms that it holds differ '
    f'by at most {difference:.1g} action units.'
  )


if __name__ == '__main__':
  launch.run(main)
