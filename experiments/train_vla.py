"""Trains the small VLA on demonstrations and writes a folder to ship.

  python -m experiments.train_vla --demos=data/demos --out=runs/vla \
      --minutes=45

`--part=prefix` trains what reads the images alone, by its readout, from
`--start` or afresh, and `--part=expert` what acts on `--start`'s prefix, which
stays as it is. The folder holds vla.safetensors, vla.json, metrics.jsonl and
MODEL_CARD.md, written every few minutes and at the end.
"""

import pathlib

from absl import flags

from experiments import launch
from rlt_jax.vlas.pi_small import train, vla_folder
from rlt_jax.vlas.pi_small.objective import LossConfig

_DEMOS = flags.DEFINE_string('demos', 'data/demos', '.npz file, or folder.')
_OUT = flags.DEFINE_string('out', None, 'New folder.', required=True)
_START = flags.DEFINE_string('start', '', 'Folder of a trained VLA to go on.')
_STEPS = flags.DEFINE_integer('steps', 6_000, 'Steps, at most.')
_MINUTES = flags.DEFINE_float('minutes', None, 'Wall clock, at most.')
_BATCH = flags.DEFINE_integer('batch', 64, 'Frames per step.')
_DRAWS = flags.DEFINE_integer('draws', 2, '(noise, time) draws per frame.')
_PART = flags.DEFINE_enum('part', 'all', list(train.PARTS), 'What learns.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of weights, split, order, noise.')


def _report(metrics: dict[str, float]) -> None:
  print(' '.join(f'{k} {v:.4g}' for k, v in metrics.items()), flush=True)


def main() -> None:
  """Trains by the flags."""
  with launch.user_errors():
    training = vla_folder.VlaFolder(
      folder=pathlib.Path(_OUT.value),
      start=_START.value,
      train=train.TrainConfig(
        steps=_STEPS.value,
        minutes=_MINUTES.value,
        batch_size=_BATCH.value,
        part=_PART.value,
        seed=_SEED.value,
      ),
      loss=LossConfig(draws=_DRAWS.value),
      command=launch.command(),
    )
    training.run(_DEMOS.value, _report)


if __name__ == '__main__':
  launch.run(main)
