"""Trains the small VLA on demonstrations and writes a folder to ship.

  python -m experiments.train_vla --out=runs/vla --minutes=45

Repeat --demos, a folder each, for several tasks. `--part=prefix` trains only
the prefix, which reads images and language, through its readout loss, from
`--start` or from random weights; `--part=expert` only the action expert, with
the prefix of `--start` unchanged. The folder gets vla.safetensors, vla.json,
metrics.jsonl and MODEL_CARD.md, written every few minutes and at the end, and
demos.json, how the demonstrations ended, for the reports of practice.

Cost: --minutes, or the time of --steps; docs/reproduce.md has what the shipped
weights took.
"""

import pathlib

from absl import flags

from . import demo_flags, launch, resuming

_DEMOS = demo_flags.define_demos(several=True)
_OUT = launch.define_path('out', None, 'New folder for the VLA.', required=True)
_RESUME = launch.define_resume()
_START = launch.define_path(
  'start',
  '',
  'Folder of a trained VLA to continue; empty starts from random weights.',
)
# Named as the fields of TrainConfig.
_TRAIN = (
  flags.DEFINE_integer('steps', 6_000, 'Largest number of gradient steps.'),
  flags.DEFINE_float('minutes', None, 'Longest wall-clock time, minutes.'),
  flags.DEFINE_string('part', 'all', "To train: 'all', 'prefix' or 'expert'."),
  flags.DEFINE_integer('seed', 0, 'Seed of weights, split, order and noise.'),
)
_BATCH = flags.DEFINE_integer('batch', 64, 'Frames per gradient step.')
_DRAWS = flags.DEFINE_integer(
  'draws', 2, 'Draws of (noise, time) per frame, for the flow loss.'
)
_SHARE = flags.DEFINE_list(
  'share', [], 'Weight of each --demos in a batch, such as 2,1,1; empty: equal.'
)
_REST_SHARE = flags.DEFINE_float(
  'rest_share',
  0.0,
  "Share of a batch that is told another task's instruction, and to rest.",
)


def main() -> None:
  """Trains by the flags."""
  from rlt_jax.training import folder_sitting
  from rlt_jax.vlas.pi_small import objective, train, vla_folder

  folder = pathlib.Path(_OUT.value).expanduser()
  with launch.user_errors(FloatingPointError):
    if _RESUME.value:
      command = folder_sitting.first_command(folder)
      resuming.recall(command, may_change=('steps', 'minutes'))
    training = vla_folder.VlaFolder(
      folder=folder,
      start=_START.value,
      train=train.TrainConfig(
        batch_size=_BATCH.value,
        **{flag.name: flag.value for flag in _TRAIN},
      ),
      loss=objective.LossConfig(draws=_DRAWS.value),
      command=command if _RESUME.value else launch.command(),
      share=tuple(float(x) for x in _SHARE.value),
      rest_share=_REST_SHARE.value,
    )
    with resuming.sitting(folder, training.command, _RESUME.value) as sitting:
      training.run(_DEMOS.paths(), sitting, _DEMOS.open)


if __name__ == '__main__':
  launch.run(main)
