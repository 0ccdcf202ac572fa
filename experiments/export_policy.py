"""Exports a policy as a bundle for a robot host.

  python -m experiments.export_policy --workdir=runs/a --out=bundles/a
  python -m experiments.export_policy --fresh --out=bundles/fresh

With --fresh it exports a policy before its first update, for practice that
starts on the arm. --set, --task, --vla and --agent are then that practice's
settings. Nothing is written into the run.

The folder holds bundle.json, policy.safetensors (for NumPy),
policy.jaxexport (for JAX, CPU and CUDA) and with --onnx policy.onnx. The
forms are checked against each other first.

Cost: some seconds to half a minute.
"""

from absl import flags

from . import launch, resuming

_WORKDIR = launch.define_workdir(
  'Folder of the run; not with --fresh.', required=False
)
_FRESH = flags.DEFINE_bool(
  'fresh', False, 'Export an untrained policy instead of that of a run.'
)
_STATION = launch.define_path(
  'station', '', "Station's file; its VLA server must run."
)
_PROMPT = flags.DEFINE_string(
  'prompt', '', 'Instruction for the VLA; only with --station.'
)
_SETTINGS = launch.define_settings()
_OUT = launch.define_path(
  'out', None, 'New folder for the bundle.', required=True
)
_ONNX = flags.DEFINE_bool('onnx', False, 'Also write policy.onnx.')
_ASSETS = launch.define_assets()


def main() -> None:
  """Writes the bundle."""
  from rlt_jax.export import bundle
  from rlt_jax.training import policy_export, station_export

  common = {'command': launch.command_line(), 'onnx': _ONNX.value}
  with launch.user_errors():
    if [_FRESH.value, *map(bool, (_WORKDIR.value, _STATION.value))].count(
      True
    ) != 1:
      raise ValueError('One of --workdir, --fresh, --station must be given.')
    if bool(_STATION.value) != bool(_PROMPT.value):
      raise ValueError('--station and --prompt must be given together.')
    if _STATION.value and _ASSETS.value:
      raise ValueError('--assets has no use with --station: a server answers.')
    launch.check_own_settings(_WORKDIR, _SETTINGS)
    bundle.check_new(_OUT.value)
    resuming.say('Writing and comparing its forms takes up to half a minute.')
    if _STATION.value:
      difference = station_export.export(
        _STATION.value,
        _OUT.value,
        config=_SETTINGS.make_config(),
        prompt=_PROMPT.value,
        **common,
      )
    elif _FRESH.value:
      source = policy_export.fresh(_SETTINGS.make_config(), _ASSETS.value)
      difference = policy_export.export(source, _OUT.value, **common)
    else:
      source = policy_export.from_run(_WORKDIR.value, _ASSETS.value)
      difference = policy_export.export(source, _OUT.value, **common)
  print(
    f'Bundle: {_OUT.value}. The NumPy, JAX and ONNX forms that it holds differ '
    f'by at most {difference:.1g} action units.'
  )


if __name__ == '__main__':
  launch.run(main)
