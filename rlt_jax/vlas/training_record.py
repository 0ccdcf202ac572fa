"""What the folder of any VLA's training says of it, beside the metrics."""

from collections.abc import Callable, Sequence
import dataclasses
import json
import shlex
from typing import Any

import numpy as np

from rlt_jax.sitting import Sitting, spell
from rlt_jax.types import Params
from rlt_jax.vlas import training_loop
from rlt_jax.vlas.demos import Demos
from rlt_jax.vlas.training_loop import LoopConfig


def describe(what: str, train: LoopConfig, demos: Demos) -> str:
  """Returns a line that says what is trained, on what, and how long."""
  texts = ', '.join(map(repr, demos.instructions))
  limit = f'{train.steps:,} steps'
  if train.minutes is not None:
    limit += f' or {spell(60.0 * train.minutes)}, whichever is shorter'
  return (
    f'Training {what} on {len(demos):,} frames of {texts} for '
    f'{limit}. Compiling first, for about a minute.'
  )


def lasting_settings(
  train: LoopConfig, demos: Demos, **others: Any
) -> dict[str, Any]:
  """Returns what another sitting must not change, as JSON reads it back.

  Args:
    train: without `training_loop.MAY_CHANGE`.
    demos: by their digest.
    others: JSON types, tuples among them.
  """
  lasting = dataclasses.asdict(train)
  for name in training_loop.MAY_CHANGE:
    del lasting[name]
  # The first that differs is named, and demonstrations follow from the others.
  settings = {**others, 'train': lasting, 'demonstrations': demos.describe()}
  return json.loads(json.dumps(settings))  # tuples become lists


def card_facts(
  train: LoopConfig,
  demos: Demos,
  metrics: dict[str, Any],
  *,
  command: Sequence[str],
  start: str,
) -> dict[str, Any]:
  """Returns the fields that the model cards of all VLAs have."""
  return {
    'instructions': ', '.join(f'`{text}`' for text in demos.instructions),
    'command': shlex.join(command),
    'seed': train.seed,
    'start': start or 'scratch',
    'episodes': len(np.unique(demos.frames.episode)),
    'frames': len(demos),
    'share': train.held_out,
    'minutes': metrics['train_s'] / 60.0,
    'step': metrics['step'],
    'batch': train.batch_size,
    'rows': '\n'.join(f'| {k} | {v:.5g} |' for k, v in sorted(metrics.items())),
  }


def save_on_the_way(
  save: Callable[[Params, dict[str, Any]], Any], sitting: Sitting
) -> Callable[[Params, dict[str, Any]], None]:
  """Returns `save` that says that a disk is full, and lets training go on."""

  def attempt(params: Params, metrics: dict[str, Any]) -> None:
    try:
      save(params, metrics)
    except OSError as error:
      sitting.say(f'The weights so far were not written: {error}.')

  return attempt
