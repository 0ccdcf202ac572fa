"""Locks for one process per folder or device."""

from collections.abc import Callable, Iterator
import contextlib
import errno
import fcntl
import os
import pathlib
import socket

# What file systems answer that have no locks, such as some of clusters.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
FILE = 'lock'  # its name in the folder


class LockedError(OSError):
  """Another process holds the lock; the text names both."""


class Lock:
  """A file lock, held until `release` or the end of the process.

  The kernel releases it when its holder dies, so a file that is left behind
  locks nothing. All users of the host may take it, whoever made the file. A
  forked child holds it too: start processes that outlive its holder with the
  method 'spawn'.
  """

  def __init__(self, path: str | os.PathLike[str], what: str):
    """Takes the lock.

    Args:
      path: the lock's file, created if missing; its folder must exist.
      what: the locked thing, for error messages.

    Raises:
      LockedError: another process or this one holds it, or its file may not be
        opened.
      OSError: the file system has no locks (errno in `UNSUPPORTED`), or the
        folder cannot be written.
    """
    self._fd: int | None = _open(path, what)
    try:
      fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = _holder(os.pread(self._fd, 256, 0))
      self._close()
      raise LockedError(
        f'{what} must have one user: {holder} has it.'
      ) from None
    except BaseException:
      self._close()
      raise
    # The holder is for error messages only; a full disk may prevent it.
    with contextlib.suppress(OSError):
      os.ftruncate(self._fd, 0)
      text = f'{os.getpid()} {socket.gethostname()}\n'
      os.pwrite(self._fd, text.encode(), 0)

  def release(self) -> None:
    """Releases the lock; the file stays, because removing it would race."""
    if self._fd is not None:
      with contextlib.suppress(OSError):
        os.ftruncate(self._fd, 0)
      self._close()

  def __enter__(self) -> 'Lock':
    return self

  def __exit__(self, *_):
    self.release()

  def _close(self) -> None:
    fd, self._fd = self._fd, None
    os.close(fd)


def lock_folder(folder: str | os.PathLike[str]) -> Lock:
  """Takes the lock of a folder, which is created if missing.

  Raises:
    LockedError: another process writes there.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  return Lock(folder / FILE, f'The folder {folder}')


def lock_if_possible(
  folder: str | os.PathLike[str], what: str, say: Callable[[str], None]
) -> Lock | None:
  """Takes the lock of a folder, which is created if missing.

  None where the file system has no locks, which is said.

  Args:
    folder: to lock.
    what: how messages call the folder.
    say: called with a line of text.

  Raises:
    OSError: another process writes there, or nobody can.
  """
  try:
    return lock_folder(folder)
  except LockedError:
    raise
  except OSError as error:
    if error.errno in UNSUPPORTED:
      say(
        f'The file system of {folder} has no locks: see to it that only one '
        'process writes there.'
      )
      return None
    reason = os.strerror(error.errno or errno.EIO)
    raise OSError(
      f'{what} must be a folder that can be written: {folder}: {reason}.'
    ) from None


@contextlib.contextmanager
def hold_folder(
  folder: str | os.PathLike[str], what: str, say: Callable[[str], None]
) -> Iterator[None]:
  """Holds the lock of a folder while the block runs.

  The arguments are those of `lock_if_possible`."""
  lock = lock_if_possible(folder, what, say)
  try:
    yield
  finally:
    if lock is not None:
      lock.release()


def _open(path: str | os.PathLike[str], what: str) -> int:
  """Opens the file, whoever made it, or makes it one for all users."""
  while True:
    # Made apart from opened: in /tmp nobody, not even root, may open with
    # O_CREAT what another user made.
    with contextlib.suppress(FileExistsError):
      fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
      os.fchmod(fd, 0o666)  # which the umask may have narrowed
      return fd
    with contextlib.suppress(FileNotFoundError, PermissionError):
      return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
      return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # enough to lock it
    except FileNotFoundError:
      continue
    except PermissionError as error:
      raise LockedError(
        f'{what} must have one user: its lock belongs to another one: {error}.'
      ) from error


def _holder(text: bytes) -> str:
  """Returns how to call the process that wrote itself into the file."""
  pid, _, host = text.decode('utf-8', 'replace').strip().partition(' ')
  if not pid.isdecimal():
    return 'another process'
  if host not in ('', socket.gethostname()):
    return f'process {pid} of the host {host}'
  # Who could only read the file has not replaced an earlier holder's number.
  return (
    f'process {pid}'
    if pathlib.Path(f'/proc/{pid}').exists()
    else ('another process')
  )
