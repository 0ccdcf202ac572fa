"""What a training asks of the place where it runs, for one or more sittings.

A training that may be interrupted saves its state, and another sitting restores
it. This module holds the interface; `training.folder_sitting` keeps the states
in a folder.
"""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from rlt_jax import files

# What an earlier start, stopped before it saved anything, leaves in a folder.
_LEFT_OVER = ('checkpoints', 'lock')


class Sitting:
  """A sitting that keeps nothing and says nothing, for use as a library.

  settings: of the training that is resumed, as its first sitting gave them to
    `restore`; empty where none is.
  first_step: that this sitting goes on from.
  """

  settings: Mapping[str, Any] = {}
  first_step: int = 0

  @property
  def resumed(self) -> bool:
    """Whether there is a saved state to go on from."""
    return bool(self.settings)

  def restore(self, state: Any, settings: Mapping[str, Any]) -> Any:
    """Returns the state to go on from: the saved one, or `state` itself.

    Args:
      state: pytree of arrays and Python numbers, at the beginning.
      settings: JSON object with what decides the result; of a training that is
        resumed it must be as in the first sitting.

    Raises:
      ValueError: other settings, by name.
    """
    del settings
    return state

  def save(self, step: int, state: Any) -> None:
    """Keeps a state, which must not be donated before this returns.

    A state that cannot be saved, as on a full disk, is reported and ends
    nothing, unless it is the first: the one before it stays.

    Args:
      step: that the state has reached.
      state: as for `restore`.
    """

  def say(self, text: str) -> None:
    """Prints a line that stays: a phase that begins, or a notice."""

  def show(self, text: str) -> None:
    """Shows progress, in place of what was shown before."""


def check_new(folder: str | os.PathLike[str]) -> None:
  """Raises a ValueError unless a folder is new, or holds no results."""
  folder = pathlib.Path(folder)
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'The folder must not be a file: {folder}.')
  names = sorted(os.listdir(folder)) if folder.exists() else []
  if names := [name for name in names if name not in _LEFT_OVER]:
    raise ValueError(
      f'The folder must be a new or an empty one: {folder} holds {names[:3]}.'
    )
  files.check_creatable(folder)


def spell(seconds: float) -> str:
  """Returns a duration in words, such as '40 s', '12 min' or '3.5 h'."""
  if seconds < 90:
    return f'{seconds:.0f} s'
  if seconds < 90 * 60:
    return f'{seconds / 60:.0f} min'
  return f'{seconds / 3600:.1f} h'


def spell_progress(
  step: int, steps: int, elapsed_s: float, share: float, **figures: float
) -> str:
  """Returns a line on a training: how far it is, the time left, and figures.

  Args:
    step, steps: done, and the largest number there may be.
    elapsed_s: spent so far.
    share: of the training that is done, by steps or by time.
    **figures: newest ones by name.
  """
  text = f'step {step:,} of {steps:,} | {spell(elapsed_s)}'
  if share > 0.0:
    text += f', about {spell(elapsed_s * (1.0 - share) / share)} left'
  values = ', '.join(f'{name} {x:.4g}' for name, x in figures.items())
  return text + (f' | {values}' if values else '')
