"""Exports a run's newest actor as a bundle for a robot host.

  python -m experiments.export_policy --workdir=runs/a --out=bundles/a
  python -m experiments.export_policy --fresh --out=bundles/fresh

With --fresh it is the actor before its first update, for a practice that
starts on the arm; `--set` gives that practice's settings.

The folder holds bundle.json, policy.safetensors (for NumPy),
policy.jaxexport (for JAX, CPU and CUDA) and with `--onnx` policy.onnx. The
forms are checked against each other first.
"""

import datetime
import pathlib
import shlex
import sys
from typing import NamedTuple

from absl import app, flags
import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.export import bundle
from rlt_jax.reporting import provenance
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.tasks.ethernet import insertion, scene
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib
from rlt_jax.training import practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Params

_WORKDIR = flags.DEFINE_string('workdir', '', 'Run.')
_FRESH = flags.DEFINE_bool('fresh', False, 'An untrained actor, of no run.')
_SET = flags.DEFINE_multi_string('set', [], 'field=value, with --fresh.')
_OUT = flags.DEFINE_string('out', None, 'New folder.', required=True)
_ONNX = flags.DEFINE_bool('onnx', False, 'Write policy.onnx too.')
_ASSETS = flags.DEFINE_string('assets', '', 'Folder with vla/ and token/.')


class Source(NamedTuple):
  """The actor's params and where they come from."""

  actor: Params
  cell: TaskSetup
  config: PracticeConfig
  workdir: str
  env_steps: int


def of_run(workdir: pathlib.Path) -> Source:
  """Returns a run's newest actor."""
  config = config_lib.from_json(
    PracticeConfig, (workdir / 'config.json').read_text()
  )
  run = practice_run.PracticeRun(
    workdir=workdir, config=config, resume=True, assets=_ASSETS.value
  )
  steps = int(run.state.env_steps)
  setup = run.experiment.shared.setup
  return Source(run.state.policy, setup, config, str(workdir), steps)


def fresh() -> Source:
  """Returns the actor that practice begins with."""
  config = config_lib.override(PracticeConfig(), _SET.value)
  cell = setup_lib.make(config, _ASSETS.value)
  state = cell.agent.init(jax.random.PRNGKey(config.seed))
  return Source(cell.agent.policy_params(state), cell, config, '', 0)


def spec_of(source: Source) -> BundleSpec:
  """Returns what the host of this actor must agree with."""
  cell, config = source.cell, source.config
  policy = cell.agent.mlp_policy
  world, served = cell.task.scene, cell.embedder.spec
  numbers = lambda x: tuple(float(v) for v in np.asarray(x))  # noqa: E731
  return BundleSpec(
    chunk_size=config.chunk_size,
    inference_delay=config.inference_delay,
    replay_stride=config.replay_stride,
    z_dim=cell.perception.z_dim,
    hidden_dims=policy.hidden_dims,
    reference_input=policy.reference_input,
    frozen_action_dims=policy.frozen_action_dims,
    exploration_std=policy.exploration_std,
    exploration_noise=policy.exploration_noise,
    gamma=config.gamma,
    intervention_reference=config.intervention_reference,
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
    proprio_mean=served.proprio_mean,
    proprio_std=served.proprio_std,
    cameras=scene.CAMERAS,
    prompt=scripted_expert_lib.INSERT,
    vla_fingerprint=served.vla_fingerprint,
    token_fingerprint=served.token_fingerprint,
    run={
      'workdir': source.workdir,
      'task': config.task.name,
      'env_steps': source.env_steps,
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
  try:
    if _FRESH.value == bool(_WORKDIR.value):
      raise ValueError('Either --workdir or --fresh must be given.')
    if _SET.value and not _FRESH.value:
      raise ValueError('--set must come with --fresh: a run has its settings.')
    source = fresh() if _FRESH.value else of_run(pathlib.Path(_WORKDIR.value))
    apart = bundle.write(
      _OUT.value,
      source.cell.agent,
      source.actor,
      spec_of(source),
      onnx=_ONNX.value,
    )
  except (ValueError, OSError, ImportError) as error:
    raise SystemExit(f'error: {error}') from None
  print(f'{_OUT.value}: its forms differ by at most {apart:.1g} units.')


if __name__ == '__main__':
  app.run(main)
