"""Trains the small VLA on demonstrations and writes a folder to ship.

  python -m experiments.train_vla --demos=data/demos --out=runs/vla \
      --minutes=45

`--part=prefix` trains only the prefix, which reads images and language, through
its readout loss, from `--start` or from random weights. `--part=expert` trains
only the action expert, with the prefix of `--start` unchanged. The folder gets
vla.safetensors, vla.json, metrics.jsonl and MODEL_CARD.md, written every few
minutes and at the end, and demos.json, how the demonstrations ended, for the
reports of practice.
"""

import pathlib

from absl import flags

from experiments import launch
from rlt_jax.vlas.pi_small import train, vla_folder
from rlt_jax.vlas.pi_small.objective import LossConfig

_DEMOS = flags.DEFINE_string(
  'demos', 'data/demos', '.npz file of demonstrations, or a folder of them.'
)
_OUT = flags.DEFINE_string(
  'out', None, 'New folder for the VLA.', required=True
)
_START = flags.DEFINE_string(
  'start',
  '',
  'Folder of a trained VLA to continue; empty starts from random weights.',
)
_STEPS = flags.DEFINE_integer(
  'steps', 6_000, 'Largest number of gradient steps.'
)
_MINUTES = flags.DEFINE_float(
  'minutes', None, 'Longest wall-clock time, minutes; unset has no limit.'
)
_BATCH = flags.DEFINE_integer('batch', 64, 'Frames per gradient step.')
_DRAWS = flags.DEFINE_integer(
  'draws', 2, 'Draws of (noise, time) per frame, for the flow loss.'
)
_PART = flags.DEFINE_enum(
  'part', 'all', list(train.PARTS), 'Part of the network to train.'
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Seed of weights, split, order and noise.'
)


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
