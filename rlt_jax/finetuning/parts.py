"""What fine-tuning needs of VLA, task and settings, and refuses by name."""

import dataclasses

from rlt_jax import vlas
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.rl_token import no_token
from rlt_jax.rollout import perception as perception_lib
from rlt_jax.serving.embedder import LocalEmbedder
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup
from rlt_jax.vlas.pi_small.pi_vla import PiVla
from rlt_jax.vlas.task_view import TaskView

_TRAINABLE = 'pi_small'


def check_settings(config: PracticeConfig, finetuning: FinetuneConfig) -> None:
  """Raises a ValueError for settings that fine-tuning cannot follow.

  Args:
    config: of the row.
    finetuning: of its method.
  """
  name = config.vla.partition(':')[0]
  others = [x for x in vlas.SHIPPED if x != _TRAINABLE]
  if vlas.is_address(config.vla) or name in others:
    raise ValueError(
      f'Fine-tuning needs the weights of a {_TRAINABLE} VLA in this process: '
      f'vla is {config.vla!r}.'
    )
  for name in ('reference_fault', 'token_ablation'):
    if getattr(config, name) != 'none':
      raise ValueError(
        f"{name} must be 'none' for fine-tuning, whose VLA is what it is: "
        f'{getattr(config, name)!r}.'
      )
  if config.inference_delay:
    raise ValueError(
      'inference_delay must be 0 for fine-tuning, whose chunks begin where '
      f'they were seen: {config.inference_delay}.'
    )
  human = config.human
  if (finetuning.kept == 'successes') == (human.help_minutes > 0.0):
    raise ValueError(
      "human.help_minutes must be 0 to learn from 'successes', and above 0 to "
      f"learn from 'corrections' or 'episodes': {human.help_minutes} with "
      f'{finetuning.kept!r}.'
    )
  if finetuning.driver == 'vla' and human.demo_steps:
    raise ValueError(
      'human.demo_steps must be 0 where the VLA drives, which has its '
      f'demonstrations already: {human.demo_steps}.'
    )


def make_setup(
  config: PracticeConfig, finetuning: FinetuneConfig, assets: str
) -> tuple[TaskSetup, PiVla]:
  """Returns the setup of a row and the VLA to start from.

  Args:
    config: of the row.
    finetuning: of its method.
    assets: folder with vla/ and token/; empty for the shipped ones.

  Raises:
    ValueError: settings, a VLA or a task that do not fit, by name.
  """
  check_settings(config, finetuning)
  setup = setup_lib.make(config, assets)
  vla = getattr(setup.embedder, 'vla', None)
  vla = vla.vla if isinstance(vla, TaskView) else vla
  if not isinstance(vla, PiVla):
    raise ValueError(
      f'Fine-tuning needs the weights of a {_TRAINABLE} VLA in this process: '
      f'vla is {config.vla!r}, {type(vla).__name__}.'
    )
  missing = [
    x for x in ('make_expert', 'tip') if getattr(setup.task, x) is None
  ]
  if missing:
    raise ValueError(
      'Fine-tuning needs a task with an expert and a tip, for demonstrations: '
      f'{setup.task.spec.name} lacks {missing}.'
    )
  return setup, vla


def with_vla(setup: TaskSetup, vla: PiVla) -> TaskSetup:
  """Returns a setup in which another VLA drives, without a token.

  Task and roll-outs stay, so that they are not compiled again.
  """
  view = vla.for_task(setup.task.spec)
  embedder = LocalEmbedder(view, no_token.make(view.spec))
  perception = perception_lib.make(task=setup.task, embedder=embedder)
  return setup._replace(embedder=embedder, perception=perception)


def of_one_round(config: PracticeConfig, rounds: int) -> PracticeConfig:
  """Returns the settings of one of several rounds of equal length.

  The person's time is divided like that of the robot.
  """
  human = dataclasses.replace(
    config.human, help_minutes=config.human.help_minutes / rounds
  )
  return dataclasses.replace(
    config, human=human, num_env_steps=config.num_env_steps // rounds
  )
