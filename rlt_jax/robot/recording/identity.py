"""What tells one journal from another: a text in its file `identity`.

A reader that was given another journal would skip as many rows of it as it has
read of the first.
"""

import os
import pathlib
import uuid

from rlt_jax import files

FILE = 'identity'


def read(folder: str | os.PathLike[str]) -> str:
  """Returns a journal's identity; '' before its first writer."""
  path = pathlib.Path(folder) / FILE
  return path.read_text('utf-8').strip() if path.exists() else ''


def ensure(folder: pathlib.Path) -> None:
  """Gives a journal an identity, unless it has one."""
  if not read(folder):
    files.write_atomically(folder / FILE, uuid.uuid4().hex)
