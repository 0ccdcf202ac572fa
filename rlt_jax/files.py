"""Atomic and durable writing of files."""

import os
import pathlib


def write_atomically(
  path: str | os.PathLike[str], content: bytes | str
) -> None:
  """Replaces a file; its folder must exist.

  A reader finds the old content or the new, never a part of it, also after a
  crash or a power cut. The new content is on the disk when this returns.

  Args:
    path: of the file.
    content: bytes, or text that is written as UTF-8.
  """
  path = pathlib.Path(path)
  data = content.encode('utf-8') if isinstance(content, str) else content
  partial = path.with_name(path.name + '.partial')
  with partial.open('wb') as file:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
  os.replace(partial, path)
  sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike[str]) -> None:
  """Returns when the folder's names, after a rename, are on the disk."""
  fd = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(fd)
  finally:
    os.close(fd)
