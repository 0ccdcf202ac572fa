"""TensorBoard beside metrics.jsonl: an extra that never ends or holds a run."""

from collections.abc import Mapping
import pathlib
import sys
from typing import Any

from rlt_jax import files

_FOLDER = 'tensorboard'


class Board:
  """Writes the numbers of metrics.jsonl as TensorBoard reads them.

  Without tensorboardX, and after a fault such as a full disk, it says so in
  one line and writes nothing more.
  """

  def __init__(self, workdir: pathlib.Path, resume_steps: int | None):
    """Opens a file.

    Args:
      workdir: of the run.
      resume_steps: `env_steps` from which the run goes on; None for a new one.
    """
    self._folder = workdir / _FOLDER
    self._writer: Any = None
    self._writer = self._open(resume_steps)

  def write(self, row: Mapping[str, Any]) -> None:
    """Adds the numbers of a row, which has `env_steps`."""
    if not self._is_alive():
      return
    try:
      for name, value in row.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
          self._writer.add_scalar(name, value, row['env_steps'])
    except OSError as error:
      self._drop(f': {error}')

  def close(self) -> None:
    """Closes the file."""
    if not self._is_alive():
      return
    try:
      self._writer.close()
    except OSError as error:
      self._drop(f': {error}')
    self._writer = None

  def _open(self, resume_steps: int | None) -> Any:
    """Returns a SummaryWriter, or None with a notice.

    Imported here because a robot's computer need not have it.
    """
    try:
      import tensorboardX
    except ImportError:
      _say('tensorboardX is not installed: metrics go to metrics.jsonl only.')
      return None
    try:
      return tensorboardX.SummaryWriter(
        str(self._folder),
        purge_step=None if resume_steps is None else resume_steps + 1,
        # Without a limit: a full queue blocks for good if its reader has died.
        max_queue=0,
      )
    except OSError as error:
      if error.errno not in files.DISK_ERRORS:
        raise
      self._drop(f': {error}')
      return None

  def _is_alive(self) -> bool:
    """Returns whether there is a board and the thread that writes its file.

    The thread ends at its first error, and closing would wait for it.
    """
    if self._writer is None:
      return False
    # tensorboardX has no public name for it.
    worker = getattr(_events(self._writer), '_worker', None)
    if worker is not None and not worker.is_alive():
      self._drop(', such as on a full disk')
    return self._writer is not None

  def _drop(self, reason: str) -> None:
    if (events := _events(self._writer)) is not None:
      # Or tensorboardX closes it once more when the process ends, and fails.
      events._closed = True
    self._writer = None
    _say(
      f'{self._folder} could not be written{reason}. The run goes on with '
      'metrics.jsonl only.'
    )


def _events(writer: Any) -> Any:
  """Returns what writes a SummaryWriter's file; None if it is not found."""
  return getattr(getattr(writer, 'file_writer', None), 'event_writer', None)


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
