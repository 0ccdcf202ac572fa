"""Replaces the checkpoint in a training's folder, which is named by its step.

<step>        complete and on the disk
<step>.part   being written or deleted
<step>.old    complete, while another takes its name
"""

from collections.abc import Iterator
import contextlib
import logging
import os
import pathlib
import shutil
import sys

from rlt_jax import files

_PART, _OLD = '.part', '.old'


@contextlib.contextmanager
def replace(folder: pathlib.Path, step: int) -> Iterator[pathlib.Path]:
  """Replaces `folder/step` by what is written within, once that is whole.

  Args:
    folder: of the training; it must exist.
    step: names the checkpoint.

  Yields:
    The folder to write, which has another name until it is on the disk; it
    does not exist yet.

  Raises:
    OSError: it could not be written, as on a full disk; the checkpoints before
      it stay.
  """
  target, old = folder / str(step), folder / f'{step}{_OLD}'
  part = folder / f'{step}{_PART}'
  logger = logging.getLogger('absl')  # Orbax's: tracebacks of its threads
  logger.addFilter(_drop)
  try:
    _put_back(folder)
    for leftover in folder.glob(f'[0-9]*{_PART}'):
      _delete(leftover)
    yield part
    files.sync_tree(part)
    if target.exists():
      remove(old)
      os.rename(target, old)
    os.rename(part, target)
    files.sync_folder(folder)
  except BaseException as error:
    shutil.rmtree(part, ignore_errors=True)
    with contextlib.suppress(OSError):
      _put_back(folder)
    code = files.error_code(error)
    if code is None:
      raise
    raised = OSError(f'{target} could not be written: {os.strerror(code)}')
    raised.errno = code
    raise raised from error
  finally:
    logger.removeFilter(_drop)
  remove(old)


def remove(path: pathlib.Path) -> None:
  """Deletes a checkpoint, if it is there; what remains is never complete.

  One that cannot be deleted is reported on stderr.
  """
  if not path.exists():
    return
  doomed = path.with_name(path.name + _PART)
  try:
    if doomed.exists():
      shutil.rmtree(doomed)
    os.rename(path, doomed)
  except OSError as error:
    _complain(path, error)
  else:
    _delete(doomed)


def _put_back(folder: pathlib.Path) -> None:
  """Gives their names to checkpoints that a kill or a fault left aside."""
  for old in folder.glob(f'[0-9]*{_OLD}'):
    if not old.with_suffix('').exists():
      os.rename(old, old.with_suffix(''))


def _delete(path: pathlib.Path) -> None:
  """Deletes a tree. A network's disk may refuse; the training goes on."""
  try:
    shutil.rmtree(path)
  except OSError as error:
    _complain(path, error)


def _complain(path: pathlib.Path, error: OSError) -> None:
  print(
    f'An old checkpoint could not be deleted: {path}: {error}', file=sys.stderr
  )


def _drop(record: logging.LogRecord) -> bool:
  del record
  return False
