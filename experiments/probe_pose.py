"""Measures how well a VLA's embeddings and its RL token encode the plug's pose.

  python -m experiments.probe_pose
  python -m experiments.probe_pose --assets=runs/assets --out=probe.json

Draws poses of the plug around the socket's mouth (1 mm of standard deviation
an axis across it, 1 mm inside to 6 mm above, 2 degrees an axis), renders them,
and fits a small network from each kind of features, and the joints, to the
true pose of the plug in the socket's frame. What is printed is its error on
poses it was not fitted to, rms an axis: what an actor that reads the same can
hope to know. Expected: about 4 minutes on one core.
"""

import json
import pathlib

from absl import flags

from experiments import launch
from rlt_jax import tasks
from rlt_jax.evaluation import pose_probe
from rlt_jax.reporting import provenance
from rlt_jax.training import assets

_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_POSES = flags.DEFINE_integer('poses', 12_000, 'Multiple of 100, over 1000.')
_STEPS = flags.DEFINE_integer('steps', 3_000, 'Gradient steps of a probe.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of poses and probes.')
_OUT = flags.DEFINE_string('out', '', 'JSON file to write.')


def main() -> None:
  """Draws, embeds, fits and prints."""
  with launch.user_errors():
    config = _SETTINGS.make_config()
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
    pathlib.Path(_OUT.value).write_text(json.dumps(table, indent=1) + '\n')


if __name__ == '__main__':
  launch.run(main)
