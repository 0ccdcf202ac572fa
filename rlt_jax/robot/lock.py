"""Locks for one process per journal and per arm."""

import contextlib
import fcntl
import os
import pathlib
import re


class LockedError(Exception):
  """Another process holds the lock; the text names both."""


class Lock:
  """A file lock, held until `release` or the end of the process.

  The kernel releases it when its holder dies, so a file that is left behind
  locks nothing. A forked child holds it too: start processes that outlive the
  loop with the method 'spawn'.
  """

  def __init__(self, path: str | os.PathLike[str], what: str):
    """Takes the lock.

    Args:
      path: the lock's file, created if missing; its folder must exist.
      what: the locked thing, for error messages.

    Raises:
      LockedError: another process or this one holds it, or the file belongs
        to another user.
    """
    try:
      self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
      raise LockedError(
        f'{what} must have one user: its lock belongs to another one: {error}.'
      ) from error
    try:
      fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = os.read(self._fd, 32).decode('ascii', 'replace').strip()
      self._close()
      who = f'process {holder}' if holder else 'another process'
      raise LockedError(f'{what} must have one user: {who} has it.') from None
    except BaseException:
      self._close()
      raise
    # The process id is for error messages only; a full disk may prevent it.
    with contextlib.suppress(OSError):
      os.ftruncate(self._fd, 0)
      os.pwrite(self._fd, f'{os.getpid()}\n'.encode(), 0)

  def release(self) -> None:
    """Releases the lock; the file stays, because removing it would race."""
    if self._fd is not None:
      os.ftruncate(self._fd, 0)
      fcntl.flock(self._fd, fcntl.LOCK_UN)
      self._close()

  def __enter__(self) -> 'Lock':
    return self

  def __exit__(self, *_):
    self.release()

  def _close(self) -> None:
    fd, self._fd = self._fd, None
    os.close(fd)


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


def lock_folder(folder: str | os.PathLike[str]) -> Lock:
  """Takes the lock of a folder, which is created if missing.

  Raises:
    LockedError: another process writes there.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  return Lock(folder / 'lock', f'The folder {folder}')
