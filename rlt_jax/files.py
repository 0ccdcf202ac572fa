"""Atomic and durable writing of files, and reading of JSON."""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import errno
import json
import os
import pathlib
import re
import tempfile
import threading
from typing import Any, BinaryIO

# A disk that is full, failing or no longer there; not a wrong path.
DISK_ERRORS = (
  errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE,
)  # fmt: skip
_RETRY_S = 1.0


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
  """Replaces a file by what is written within; its folder must exist.

  A reader finds the old content or the new, never a part of it, also after a
  crash or a power cut. The new content is on the disk when the block ends. If
  it fails, for example on a full disk, nothing of the new content is left.

  Args:
    path: of the file.

  Yields:
    The binary file to write, which has another name until it is complete.
  """
  path = pathlib.Path(path)
  partial = path.with_name(path.name + '.partial')
  try:
    with partial.open('wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(partial, path)
  except BaseException:
    with contextlib.suppress(OSError):
      partial.unlink()
    raise
  sync_folder(path.parent)


def write_atomically(
  path: str | os.PathLike[str], content: bytes | str
) -> None:
  """Replaces a file as `open_atomically` does.

  Args:
    path: of the file; its folder must exist.
    content: bytes, or text that is written as UTF-8.
  """
  with open_atomically(path) as file:
    file.write(content.encode('utf-8') if isinstance(content, str) else content)


def write_when_possible(
  write: Callable[[], Any], stop: threading.Event
) -> None:
  """Calls `write` until the disk takes it, and says once that it waits.

  Args:
    write: writes all or nothing; raises OSError.
    stop: ends the wait.

  Raises:
    OSError: none of DISK_ERRORS, or `stop` is set.
  """
  said = False
  while True:
    try:
      write()
      return
    except OSError as error:
      if error.errno not in DISK_ERRORS or stop.is_set():
        raise
      if not said:
        print(f'Waiting for the disk: {error}', flush=True)
        said = True
    stop.wait(_RETRY_S)


def check_writable(path: str | os.PathLike[str]) -> None:
  """Makes the folder of a file that is written later, and tries to write there.

  For the start of a command that writes after long work.

  Raises:
    OSError: the file cannot be written; the text names it and says why.
  """
  path = pathlib.Path(path)
  try:
    if path.is_dir():
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
      pass
  except OSError as error:
    reason = os.strerror(error.errno or errno.EIO)
    raise OSError(f'{path} cannot be written: {reason}.') from None


def check_creatable(folder: str | os.PathLike[str]) -> None:
  """Checks that a folder can be made, or written if it is there.

  Writes nothing that stays. For the start of a command that writes after long
  work.

  Raises:
    ValueError: nothing can be made there; the text names it.
  """
  parent = pathlib.Path(folder)
  while not parent.exists():
    parent = parent.parent
  try:
    with tempfile.TemporaryFile(dir=parent):
      pass
  except OSError:
    raise ValueError(
      f'The folder must be in one that is writable: {folder}.'
    ) from None


def error_code(error: BaseException) -> int | None:
  """Returns the errno of a fault of the disk; None for another exception.

  Orbax raises it as a ValueError that has the number in its text.
  """
  found = re.search(r"os_error_code='(\d+)'", str(error))
  return int(found[1]) if found else getattr(error, 'errno', None)


def read_json(
  path: str | os.PathLike[str], fields: Iterable[str] = ()
) -> dict[str, Any]:
  """Returns the JSON object in a file.

  Args:
    path: of the file.
    fields: that the object must have; it may have more.

  Raises:
    ValueError: the file holds anything else; the message names it.
    OSError: it cannot be read.
  """
  try:
    content = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except ValueError as error:  # of JSON or of UTF-8
    raise ValueError(f'{path} must hold JSON: {error}.') from None
  if not isinstance(content, dict):
    raise ValueError(
      f'{path} must hold a JSON object: it holds a {type(content).__name__}.'
    )
  if missing := [name for name in fields if name not in content]:
    raise ValueError(f'{path} must have {", ".join(fields)}: no {missing}.')
  return content


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the NumPy arrays of a safetensors file by name.

  Raises:
    ValueError: it is no whole file of this kind; the message names it.
    OSError: it cannot be read.
  """
  import safetensors
  import safetensors.numpy

  try:
    return safetensors.numpy.load_file(path)
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path} must be a whole safetensors file: {error}.'
    ) from None


def sync_folder(folder: str | os.PathLike[str]) -> None:
  """Returns when the folder's names, after a rename, are on the disk."""
  fd = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(fd)
  finally:
    os.close(fd)


def sync_tree(folder: str | os.PathLike[str]) -> None:
  """Returns when all files and names below a folder are on the disk."""
  for path, _, names in os.walk(folder):
    for name in names:
      sync_folder(os.path.join(path, name))  # a file is opened alike
    sync_folder(path)
