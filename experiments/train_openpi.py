"""Trains a π0 or π0.5 on demonstrations; writes a checkpoint as openpi does.

  python -m experiments.train_openpi --config=pi05_two_arm_bench_tiny \\
      --out=runs/tiny --minutes=60 --learning_rate=8e-4 --prefix_weight=2

It starts from random weights, with a tokenizer made of the instructions, or
from `--start`; the defaults are those of openpi's fine-tuning. The folder gets
the checkpoint, named by its step; config.json, which opens it; metrics.jsonl
and MODEL_CARD.md, written every few minutes and at the end.

Cost: --minutes, or the time of --steps, and 16 bytes of memory a parameter.
"""

import pathlib

from absl import flags

from . import demo_flags, launch, resuming

_CONFIG = launch.define_path(
  'config', None, 'Configuration: a name or a .json file.', required=True
)
_DEMOS = demo_flags.define_demos()
_OUT = launch.define_path('out', None, 'New folder to write.', required=True)
_RESUME = launch.define_resume()
_START = launch.define_path(
  'start', '', 'Checkpoint to continue; empty starts from random weights.'
)
# Named as the fields of TrainConfig.
_TRAIN = (
  flags.DEFINE_integer('steps', 30_000, 'Largest number of gradient steps.'),
  flags.DEFINE_float('minutes', None, 'Longest wall-clock time, minutes.'),
  flags.DEFINE_integer('batch_size', 32, 'Frames per gradient step.'),
  flags.DEFINE_integer('draws', 1, 'Draws of (noise, time) per frame.'),
  flags.DEFINE_float('prefix_weight', 0.0, "Of the prefix's own loss."),
  flags.DEFINE_float('learning_rate', 2.5e-5, 'Peak of the rate.'),
  flags.DEFINE_integer('warmup_steps', 1_000, 'Linear rise to the peak.'),
  flags.DEFINE_float('ema_rate', 0.99, 'Of the average that is written.'),
  flags.DEFINE_integer('seed', 0, 'Seed of weights, split, order and noise.'),
)


def main() -> None:
  """Trains by the flags."""
  from rlt_jax.training import folder_sitting
  from rlt_jax.vlas.openpi import train, train_folder

  folder, command = pathlib.Path(_OUT.value).expanduser(), launch.command()
  with launch.user_errors(FloatingPointError):
    if _RESUME.value:
      command = folder_sitting.first_command(folder)
      resuming.recall(command, may_change=('steps', 'minutes'))
    training = train_folder.TrainFolder(
      folder=folder,
      config=_CONFIG.value,
      start=_START.value,
      train=train.TrainConfig(**{flag.name: flag.value for flag in _TRAIN}),
      command=command,
    )
    with resuming.sitting(folder, command, _RESUME.value) as sitting:
      weights = training.run(_DEMOS.open, sitting)
  print(f'Use it as --vla=openpi:{folder / train_folder.CONFIG}:{weights}')


if __name__ == '__main__':
  launch.run(main)
