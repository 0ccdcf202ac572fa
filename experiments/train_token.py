"""Trains the RL token of a VLA on demonstrations of one or several tasks.

  python -m experiments.train_token --vla=pi_small:runs/vla --out=runs/token

It uses the demonstrations of each task's own instruction, where they name their
tasks, or of the most frequent one. The token reads image embeddings only;
--set=inputs=image_language adds those of the instruction, for a token that
several tasks share (repeat --demos). The folder gets token.safetensors,
token.json and MODEL_CARD.md. With --alpha above 0 the VLA is fine-tuned with
the token, and the new VLA is written to vla/ in the folder. --set=cache=none
embeds each batch as it comes, in memory that does not grow with the data; see
docs/stage1.md.

Cost: about 5 minutes for 2,000 steps on 2 cores with alpha 0.
"""

import pathlib

from absl import flags

from . import demo_flags, launch, resuming

_DEMOS = demo_flags.define_demos(several=True)
_VLA = launch.define_path(
  'vla',
  'pi_small',
  "Frozen VLA: 'pi_small', 'pi_small:FOLDER', "
  "'openpi:CONFIGURATION:CHECKPOINT', 'module:function', or 'ws://host:port'.",
)
_OUT = launch.define_path(
  'out', None, 'New folder for the token.', required=True
)
_RESUME = launch.define_resume()
# Named as the fields of Stage1Config; the others are changed by --set.
_STAGE_1 = (
  flags.DEFINE_integer('episodes', 60, 'Largest number of demonstrations.'),
  flags.DEFINE_integer('steps', 2_000, 'Gradient steps.'),
  flags.DEFINE_integer('seed', 0, 'Of episodes, split, weights and order.'),
  flags.DEFINE_float('alpha', 0.0, "Weight of the VLA's own loss; 0: frozen."),
)
_SET = flags.DEFINE_multi_string(
  'set', [], 'Changes a setting, such as --set=cache=none; may be repeated.'
)


def list_settings() -> dict[str, list]:
  """Returns what --set can change, for --help."""
  from rlt_jax import config_help
  from rlt_jax.rl_token import stage1_config

  found = config_help.settings(stage1_config.Stage1Config())
  return {'set': [x for x in found if x.path not in flags.FLAGS]}


def main() -> None:
  """Trains a token with the settings of the flags."""
  from rlt_jax import config
  from rlt_jax.rl_token import stage1, stage1_config, token_folder
  from rlt_jax.serving import remote_vla
  from rlt_jax.training import folder_sitting

  folder, command = pathlib.Path(_OUT.value).expanduser(), launch.command()
  with launch.user_errors(FloatingPointError):
    if _RESUME.value:
      command = folder_sitting.first_command(folder)
      resuming.recall(command)
    fields = {flag.name: flag.value for flag in _STAGE_1}
    settings = config.override(stage1_config.Stage1Config(**fields), _SET.value)
    with resuming.sitting(folder, command, _RESUME.value) as sitting:
      with remote_vla.opened(_VLA.value) as vla:
        source = _DEMOS.open_for(vla, sitting.say)
        result = stage1.run(vla, source, settings, sitting)
      token_folder.write(folder, result, command=command, seed=settings.seed)
  for name, value in result.metrics.items():
    print(f'{name:28s} {value:10.4f}')


if __name__ == '__main__':
  launch.run(main)
