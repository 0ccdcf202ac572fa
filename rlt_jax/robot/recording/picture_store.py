"""Writes the pictures of a run in a thread of its own.

Nobody waits for it: what it has no time or no room for is dropped and counted.
A killed process loses the observations that were not written yet, no others.
"""

from collections.abc import Mapping
import contextlib
import os
import pathlib
import queue
import shutil
import threading
from typing import Any

import numpy as np

from rlt_jax.robot import realtime
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.robot.recording import pictures, png
from rlt_jax.robot.recording.journal import (
  Journal,
  JournalError,
  JournalFullError,
)

FOLDER = 'pictures'
_MAX_WAITING_BYTES = 1 << 28  # of pictures that are not written yet
# The journal, which the arm waits for, needs the last of the disk.
_MIN_FREE_BYTES = 1 << 30
_CLOSE_TIMEOUT_S = 30.0


def open_store(
  workdir: pathlib.Path,
  spec: BundleSpec,
  robot: str,
  shapes: Mapping[str, tuple[int, int, int]],
  stack: contextlib.ExitStack,
) -> 'PictureStore':
  """Opens the store of a run; says what it may cost and, at the end, did.

  Args:
    workdir: of the run; it exists.
    spec: of the policy.
    robot: name of the arm.
    shapes: camera -> (height, width, 3).
    stack: closes it.

  Raises:
    ValueError: pictures at a rate that no dataset has.
    LockedError, JournalError: see `PictureStore`.
  """
  pictures.check_rate(spec.control_hz, spec.replay_stride)
  about = pictures.describe(spec, robot, shapes)
  free = shutil.disk_usage(workdir).free - _MIN_FREE_BYTES
  print(pictures.estimate(about, free), flush=True)
  store = PictureStore(workdir / FOLDER, about)
  stack.callback(lambda: print(store.status(), flush=True))
  return stack.enter_context(store)


class PictureStore:
  """Writes pictures; a context manager.

  kept: observations that are written. dropped: that are not, for want of time
  or room. written_bytes: of the files. cause: why the last one was dropped.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    about: Mapping[str, Any],
    *,
    max_waiting_bytes: int = _MAX_WAITING_BYTES,
    min_free_bytes: int = _MIN_FREE_BYTES,
    **replacements: Any,
  ):
    """Opens the folder and starts the thread.

    Args:
      folder: of the pictures; created if missing.
      about: of `pictures.describe`, for readers.
      max_waiting_bytes: of pictures in memory that are not written yet.
      min_free_bytes: nothing is written when the disk has less than this.
      **replacements: `write` and `sync`, as `Journal` takes them in tests.

    Raises:
      LockedError: another process writes there.
      JournalError: its last file is damaged.
    """
    self._journal = Journal(folder, **replacements)
    self._about = dict(about)
    self._max_waiting, self._min_free = max_waiting_bytes, min_free_bytes
    self._queue: queue.SimpleQueue = queue.SimpleQueue()
    self._lock = threading.Lock()
    self._waiting = 0  # bytes
    self._episode: int | None = None  # of the open file
    self._broken, self._said = False, 0
    self.kept = self.dropped = self.written_bytes = 0
    self.cause = ''
    self._thread = threading.Thread(
      target=self._run, name='pictures', daemon=True
    )
    self._thread.start()

  def put(self, query: VlaQuery, images: Mapping[str, np.ndarray]) -> None:
    """Keeps an observation; never waits.

    Of several of one step, before the arm moves, the last is kept.

    Args:
      query: of a recorded step.
      images: camera -> uint8 [S, S, 3]; they must not be changed afterwards.
    """
    size = sum(image.nbytes for image in images.values())
    with self._lock:
      fits = self._waiting + size <= self._max_waiting
      if fits:
        self._waiting += size
    if fits:
      self._queue.put((query, dict(images), size))
    else:
      self._drop('the disk or the processor is too slow for them')

  def status(self) -> str:
    """Returns how many were kept and dropped, a sentence."""
    text = (
      f'Pictures: {self.kept} observations kept, '
      f'{self.written_bytes / 1e6:.1f} MB'
    )
    if self.dropped:
      text += f'; {self.dropped} dropped, because {self.cause}'
    return text + '.'

  def new_drops(self) -> str:
    """Returns `status` if any were dropped since the last call, else ''."""
    before, self._said = self._said, self.dropped
    return self.status() if self.dropped > before else ''

  def close(self, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
    """Writes what waits, within the time, and closes the file."""
    self._queue.put(None)
    self._thread.join(timeout_s)
    with self._lock:
      self._broken = True  # a thread that goes on ends at the next one

  def __enter__(self) -> 'PictureStore':
    return self

  def __exit__(self, *_):
    self.close()

  def _run(self) -> None:
    realtime.run_in_background()
    last = None
    try:
      while (item := self._queue.get()) is not None:
        if last is not None and last[0].stamp.key != item[0].stamp.key:
          self._write(last)
        elif last is not None:
          self._forget(last)
        last = item
      if last is not None:
        self._write(last)
    finally:
      self._close_journal()

  def _write(self, item: tuple[VlaQuery, dict[str, np.ndarray], int]) -> None:
    query, images, _ = item
    try:
      if self._broken:
        self._drop(self.cause or 'the run is over')
        return
      if shutil.disk_usage(self._journal.folder).free < self._min_free:
        self._drop(
          f'the disk must have {self._min_free / 1e9:.1f} GB free for the rest '
          'of the run'
        )
        return
      self._append(query, images)
    except JournalFullError:
      self._drop('the disk is full')
    except (JournalError, OSError, ValueError) as error:
      self._broken = True
      self._drop(str(error).rstrip('.'))
    finally:
      self._forget(item)

  def _append(self, query: VlaQuery, images: Mapping[str, np.ndarray]) -> None:
    key = query.stamp.key
    arrays = {
      pictures.IMAGES + name: np.frombuffer(png.encode(image), np.uint8)
      for name, image in images.items()
    }
    size = sum(x.nbytes for x in arrays.values())
    arrays |= {
      'pose': np.asarray(query.pose, np.float64),
      'proprio': np.asarray(query.proprio, np.float32),
    }
    if self._episode != key.episode:
      self._end_file()
      self._journal.begin({'episode': key.episode} | self._about)
      self._episode = key.episode
    meta = {'obs_time': query.obs_time} | key._asdict()
    self._journal.append(arrays, meta)
    self.kept, self.written_bytes = self.kept + 1, self.written_bytes + size

  def _end_file(self) -> None:
    if self._episode is not None:
      self._journal.end()
      self._episode = None

  def _forget(self, item: tuple[VlaQuery, dict[str, np.ndarray], int]) -> None:
    with self._lock:
      self._waiting -= item[2]

  def _drop(self, cause: str) -> None:
    with self._lock:
      self.dropped, self.cause = self.dropped + 1, cause

  def _close_journal(self) -> None:
    # What cannot be ended now, such as on a full disk, the next store ends.
    with contextlib.suppress(JournalError):
      if not self._broken:
        self._end_file()
    with contextlib.suppress(JournalError):
      self._journal.close()
