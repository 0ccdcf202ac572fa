"""The flags of an experiment that continues: those of its first command."""

from collections.abc import Iterator, Sequence
import contextlib
import copy
import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from . import launch

if TYPE_CHECKING:
  from rlt_jax.training.folder_sitting import FolderSitting

# Where the files are may change between two sittings: what matters of them is
# compared by content.
_PLACES = ('out', 'demos', 'mapping', 'resume')


def recall(command: Sequence[str], may_change: Sequence[str] = ()) -> None:
  """Gives each flag that was not given the value it had in a command.

  Args:
    command: of the first sitting, as `launch.command` returned it.
    may_change: flags that may have another value now.

  Raises:
    ValueError: a flag that was given with another value than then.
  """
  now = flags.FLAGS
  before = copy.deepcopy(now)
  before.unparse_flags()
  first = 3 if list(command[1:2]) == ['-m'] else 2
  try:
    before(['', *command[first:]])
  except flags.Error as error:
    raise ValueError(
      f'The first command must be one of this version: {error}.'
    ) from None
  for flag in now.get_key_flags_for_module(sys.argv[0]):
    old = before[flag.name].value
    if not flag.present:
      flag.value = old
    elif flag.value != old and flag.name not in (*_PLACES, *may_change):
      raise ValueError(
        f'--resume keeps the flags of the first command: --{flag.name} was '
        f'{old!r} and is now {flag.value!r}.'
      )


@contextlib.contextmanager
def sitting(
  folder: pathlib.Path, command: Sequence[str], resume: bool
) -> 'Iterator[FolderSitting]':
  """Yields the sitting of a training; removes its checkpoints at the end.

  A signal, and a disk on which the results cannot be written, end the process
  with how to continue. See `FolderSitting` for the arguments.
  """
  from rlt_jax import lock
  from rlt_jax.training import folder_sitting

  kept = folder_sitting.FolderSitting(folder, resume=resume, command=command)
  held = lock.hold_folder(folder, '--out', say)
  with held, launch.resumable(kept.is_saved, kept.describe_saved):
    try:
      yield kept
    except OSError as error:
      if not kept.is_saved():
        raise
      again = launch.command_line() + ('' if resume else ' --resume')
      raise SystemExit(f'error: {error}\nContinue with: {again}') from None
  kept.finish()


def say(text: str) -> None:
  """Prints a line at once, also into a pipe."""
  print(text, flush=True)
