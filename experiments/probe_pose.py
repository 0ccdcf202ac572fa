"""Measures what a VLA's embeddings and its RL token tell of the plug's pose.

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
import shlex
import sys

from absl import app, flags
import jax
import numpy as np

from rlt_jax.evaluation import pose_probe
from rlt_jax.reporting import provenance
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib
from rlt_jax.training import assets
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig

_ASSETS = flags.DEFINE_string('assets', '', 'Folder with vla/ and token/.')
_POSES = flags.DEFINE_integer('poses', 12_000, 'Multiple of 100, over 1000.')
_STEPS = flags.DEFINE_integer('steps', 3_000, 'Gradient steps of a probe.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of poses and probes.')
_OUT = flags.DEFINE_string('out', '', 'JSON file to write.')


def main(argv: list[str]) -> None:
  """Draws, embeds, fits and prints."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  keep_compiled()
  pose_key, fit_key = jax.random.split(jax.random.key(_SEED.value))
  try:
    vla, token, _ = assets.load(_ASSETS.value, PracticeConfig(), assets.TASK)
    columns, truth = pose_probe.features(
      pose_key,
      vla=vla,
      token=token,
      prompt=vla.tokenize(scripted_expert_lib.INSERT),
      poses=_POSES.value,
    )
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from None
  table = {}

  def tell(name, error):
    table[name] = error
    print(f'{name:12s}', *(f'{e:12.3f}' for e in error), flush=True)

  print(f'{"rms error":12s}', *(f'{name:>12s}' for name in pose_probe.AXES))
  tell('constant', truth.std(0))
  for name, x in columns.items():
    if name != 'joints':
      x = np.concatenate([x, columns['joints']], axis=1)
    tell(name, pose_probe.fit(x, truth, fit_key, _STEPS.value))
  if _OUT.value:
    record = {
      name: dict(zip(pose_probe.AXES, np.round(error, 4).tolist(), strict=True))
      for name, error in table.items()
    }
    record |= {
      'fingerprint': vla.spec.fingerprint,
      'command': shlex.join(sys.argv),
      'commit': provenance.commit(),
      'device': provenance.device(),
      'versions': provenance.versions(),
    }
    pathlib.Path(_OUT.value).write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
