"""Trains the ResNet-10 that stands in for the RL token in some baselines.

  python -m experiments.train_resnet10 --out=runs/resnet10

It learns to tell where random solids are in renders of them; the tasks are in
none (rlt_jax/resnet10). The folder gets resnet10.safetensors and resnet10.json.
The shipped ones, rlt_jax/resnet10/assets, are used where no other is put there.

Cost: about 15 minutes for 1,000 steps on one core.
"""

import pathlib

from absl import flags

from . import launch, resuming

_OUT = launch.define_path(
  'out', None, 'New folder for the weights.', required=True
)
_RESUME = launch.define_resume()
_STEPS = flags.DEFINE_integer('steps', 1_000, 'Gradient steps.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of solids, pictures and weights.')


def main() -> None:
  """Trains with the settings of the flags and writes the weights."""
  from rlt_jax.resnet10 import training, weights
  from rlt_jax.training import folder_sitting

  folder, command = pathlib.Path(_OUT.value).expanduser(), launch.command()
  with launch.user_errors(FloatingPointError):
    if _RESUME.value:
      command = folder_sitting.first_command(folder)
      resuming.recall(command)
    config = training.ResNetConfig(steps=_STEPS.value, seed=_SEED.value)
    with resuming.sitting(folder, command, _RESUME.value) as sitting:
      params, metrics = training.train(config, sitting)
      weights.save(folder, params, metrics=metrics, command=command)
  for name, value in metrics.items():
    print(f'{name:28s} {value:10.4f}')


if __name__ == '__main__':
  launch.run(main)
