"""Exports a run's newest actor as a bundle for a robot host.

  python -m experiments.export_policy --workdir=runs/a --out=bundles/a

The folder holds bundle.json, policy.safetensors (for NumPy),
policy.jaxexport (for JAX, CPU and CUDA) and with `--onnx` policy.onnx. The
forms are checked against each other first.
"""

import datetime
import pathlib
import shlex
import sys

from absl import app, flags
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.export import bundle
from rlt_jax.robot.bundle import BundleSpec
from rlt_jax.rollout import provenance, session
from rlt_jax.rollout.cache import keep_compiled
from rlt_jax.rollout.config import PracticeConfig
from rlt_jax.sim import insertion, scene
from rlt_jax.sim import teacher as teacher_lib

_WORKDIR = flags.DEFINE_string('workdir', None, 'Run.', required=True)
_OUT = flags.DEFINE_string('out', None, 'New folder.', required=True)
_ONNX = flags.DEFINE_bool('onnx', False, 'Write policy.onnx too.')
_ASSETS = flags.DEFINE_string('assets', '', 'Folder with vla/ and token/.')


def spec_of(run: session.Session) -> BundleSpec:
  """Returns what the host of this run's actor must agree with."""
  cell, config = run.cell, run.config
  world, norm = cell.task.scene, cell.vla.params['norm']
  numbers = lambda x: tuple(float(v) for v in np.asarray(x))  # noqa: E731
  return BundleSpec(
    chunk=config.chunk,
    z_dim=cell.perception.z_dim,
    hidden=config.agent.hidden,
    reference_input=config.agent.reference_input,
    idle_entries=config.agent.idle_entries,
    sigma=config.agent.sigma,
    control_hz=insertion.CONTROL_HZ,
    joint_names=scene.JOINTS,
    joint_units=tuple(
      'm' if name.endswith('gripper') else 'rad' for name in scene.JOINTS
    ),
    joint_low=numbers(world.joint_low),
    joint_high=numbers(world.joint_high),
    reach=numbers(insertion.reach(config.task)),
    action_mode=cell.perception.space.mode,
    action_scale=numbers(cell.perception.space.scale),
    proprio_names=tuple(
      f'{joint}.{part}' for part in ('pos', 'vel') for joint in scene.JOINTS
    ),
    proprio_mean=numbers(norm.proprio_mean),
    proprio_std=numbers(norm.proprio_std),
    cameras=scene.CAMERAS,
    prompt=teacher_lib.INSERT,
    vla_fingerprint=cell.vla.spec.fingerprint,
    token_fingerprint=cell.token.spec.fingerprint,
    run={
      'workdir': str(run.workdir),
      'task': config.task.name,
      'robot_steps': int(run.state.robot_steps),
      'command': shlex.join(
        ['python', '-m', 'experiments.export_policy', *sys.argv[1:]]
      ),
      'commit': provenance.commit(),
      'created': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
      'versions': provenance.versions(),
    },
  )


def main(argv: list[str]) -> None:
  """Reads the newest checkpoint and writes the bundle."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  keep_compiled()
  workdir = pathlib.Path(_WORKDIR.value)
  try:
    config = config_lib.from_json(
      PracticeConfig, (workdir / 'config.json').read_text()
    )
    run = session.Session(
      workdir=workdir, config=config, resume=True, assets=_ASSETS.value
    )
    apart = bundle.write(
      _OUT.value, run.state.actor, spec_of(run), onnx=_ONNX.value
    )
  except (ValueError, OSError, ImportError) as error:
    raise SystemExit(f'error: {error}') from None
  print(f'{_OUT.value}: its forms differ by at most {apart:.1g} units.')


if __name__ == '__main__':
  app.run(main)
