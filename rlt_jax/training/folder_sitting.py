"""A training that takes several sittings, with checkpoints in its folder."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import shutil
from typing import Any

from rlt_jax import sitting as sitting_lib
from rlt_jax.export import checkpoint
from rlt_jax.reporting.progress import ProgressLine


class FolderSitting(sitting_lib.Sitting):
  """Keeps the states of a training in checkpoints/ of its folder."""

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    resume: bool,
    command: Sequence[str] = (),
    progress: ProgressLine | None = None,
  ):
    """Checks the folder; writes nothing.

    Args:
      folder: new or empty; with `resume` that of an interrupted training.
      resume: go on from the newest checkpoint.
      command: that began the training, for `first_command`.
      progress: prints; None prints to the standard output.

    Raises:
      ValueError: a folder that does not fit.
    """
    self._folder = pathlib.Path(folder)
    self._progress = progress or ProgressLine()
    self._failed = False  # the last save
    self._meta: dict[str, Any] = {
      'format_version': checkpoint.FORMAT_VERSION,
      'command': list(command),
    }
    if resume:
      found = _find(self._folder)
      self.settings = found['settings']
      self._meta['command'] = found['command']
    elif self.is_saved():
      raise ValueError(
        'A new training needs a new folder; --resume continues the interrupted '
        f'one in {self._folder}.'
      )
    else:
      sitting_lib.check_new(self._folder)

  def is_saved(self) -> bool:
    """Returns whether there is a state to go on from."""
    return checkpoint.latest(self._folder) is not None

  def describe_saved(self) -> str:
    """Returns in a sentence what is kept; '' if that is what was done last."""
    if not (self._failed and self.is_saved()):
      return ''
    return (
      f'Step {checkpoint.latest(self._folder):,} is kept: what came after it '
      'could not be saved.'
    )

  def restore(self, state: Any, settings: Mapping[str, Any]) -> Any:
    """Returns the newest whole checkpoint, or `state` at the beginning."""
    self._meta['settings'] = dict(settings)
    if not self.resumed:
      return state
    restored = checkpoint.restore(
      self._folder,
      state,
      expected_meta={'settings': self._meta['settings']},
      set_aside=True,
    )
    self.first_step = restored.env_steps
    self.say(f'Continues after step {self.first_step:,}.')
    return restored.state

  def save(self, step: int, state: Any) -> None:
    """Writes a checkpoint; see `Sitting.save`."""
    try:
      checkpoint.save(self._folder, step, state, self._meta)
      self._failed = False
    except checkpoint.SaveError as error:
      self._failed = True
      if not self.is_saved():
        raise
      self.say(f'Not saved: {error} The training goes on.')

  def say(self, text: str) -> None:
    """Prints a line that stays."""
    self._progress.say(text)

  def show(self, text: str) -> None:
    """Shows progress."""
    self._progress.show(text)

  def finish(self) -> None:
    """Removes the checkpoints of a training whose results are written."""
    shutil.rmtree(self._folder / 'checkpoints', ignore_errors=True)


def first_command(folder: str | os.PathLike[str]) -> list[str]:
  """Returns the command that began the training in a folder.

  Raises:
    ValueError: no interrupted training there.
  """
  return _find(pathlib.Path(folder))['command']


def _find(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the meta of a training's newest whole checkpoint."""
  if checkpoint.latest(folder) is None:
    raise ValueError(
      '--resume needs the folder of an interrupted training; a finished one, '
      f'or one that saved nothing, has no checkpoint: {folder}.'
    )
  _, meta = checkpoint.find(folder)
  if 'settings' not in meta or 'command' not in meta:
    raise ValueError(
      f'--resume needs the folder of such a training: {folder} holds the '
      'checkpoints of something else.'
    )
  return meta
