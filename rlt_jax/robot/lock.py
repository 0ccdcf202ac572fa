"""The lock of an arm: one process per arm."""

import os
import pathlib
import re

from rlt_jax.lock import Lock


def lock_arm(name: str, folder: str | os.PathLike[str] = '/tmp') -> Lock:
  """Takes the lock of the arm of this name on this host.

  Args:
    name: `ArmSpec.name`, of letters, digits, '.', '_' and '-'.
    folder: of the locks; the same for all processes of the host.

  Raises:
    LockedError: another process drives the arm.
    ValueError: a name with other characters.
  """
  if not re.fullmatch(r'[A-Za-z0-9_-][A-Za-z0-9._-]*', name):
    raise ValueError(
      f'An arm must have a name of letters and digits: {name!r}.'
    )
  path = pathlib.Path(folder) / f'rlt_jax-{name}.lock'
  return Lock(path, f'The arm {name}')
