"""Measures how well a VLA's embeddings and its RL token encode the plug's pose.

  python -m experiments.probe_pose
  python -m experiments.probe_pose --assets=runs/assets --out=probe.json

Draws poses of the plug around the socket's mouth (standard deviation 1 mm per
axis in the mouth's plane and 2 degrees per axis; uniform from 1 mm inside to
6 mm above) and renders them. For each kind of features it fits a small network,
which also reads the joints, to the true pose of the plug in the socket's frame.
It prints the rms error per axis on held-out poses. An actor with the same
inputs cannot be expected to know the pose better.

Cost: about 4 minutes on one core.
"""

import json

from absl import flags

from rlt_jax.reporting import provenance

from . import launch, resuming

_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_POSES = flags.DEFINE_integer(
  'poses', 12_000, 'Poses to draw; a multiple of 100 above 1000.'
)
_STEPS = flags.DEFINE_integer(
  'steps', 3_000, 'Gradient steps per probe network.'
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Seed of the poses and the probe networks.'
)
_OUT = launch.define_path('out', '', 'JSON file to write; empty writes none.')


def main() -> None:
  """Draws, embeds, fits and prints."""
  from rlt_jax import files, tasks
  from rlt_jax.evaluation import pose_probe
  from rlt_jax.training import assets

  with launch.user_errors():
    if _OUT.value:
      files.check_writable(_OUT.value)
    config = _SETTINGS.make_config()
    resuming.say(
      f'Rendering and embedding {_POSES.value:,} poses, then fitting a network '
      'to each kind of features; 12,000 take about 4 minutes on one core.'
    )
    task = tasks.load(config.task_name, config.task)
    vla, token, _ = assets.load(_ASSETS.value, config, task.spec)
    table = pose_probe.measure(
      _SEED.value,
      vla=vla,
      token=token,
      prompt=vla.tokenize(task.spec.instruction),
      task=task,
      poses=_POSES.value,
      steps=_STEPS.value,
      log=lambda line: print(line, flush=True),
    )
  if _OUT.value:
    table |= {
      'fingerprint': vla.spec.fingerprint,
      'command': launch.command_line(),
      'commit': provenance.commit(),
      'device': provenance.device(),
      'versions': provenance.versions(),
    }
    files.write_atomically(_OUT.value, json.dumps(table, indent=1) + '\n')


if __name__ == '__main__':
  launch.run(main, saves_nothing=True)
