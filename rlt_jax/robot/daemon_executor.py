"""An executor whose thread does not keep the process alive."""

from collections.abc import Callable
from concurrent import futures
import queue
import threading
from typing import Any


class DaemonExecutor(futures.Executor):
  """Runs tasks one after another in a thread that may hang for ever.

  `futures.ThreadPoolExecutor` joins its threads when the process ends, so a
  camera that never returns would keep the process from ending.
  """

  def __init__(self, name: str):
    """Starts the thread."""
    self._tasks: queue.SimpleQueue = queue.SimpleQueue()
    self._thread = threading.Thread(target=self._run, name=name, daemon=True)
    self._thread.start()

  def submit(
    self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
  ) -> futures.Future:
    """See `futures.Executor`; the future has the result or the exception."""
    future: futures.Future = futures.Future()
    self._tasks.put((future, fn, args, kwargs))
    return future

  def shutdown(
    self, wait: bool = True, *, cancel_futures: bool = False
  ) -> None:
    """Ends the thread after its tasks; `wait` is for a second at most."""
    del cancel_futures
    self._tasks.put(None)
    if wait:
      self._thread.join(1.0)

  def _run(self) -> None:
    while (task := self._tasks.get()) is not None:
      future, fn, args, kwargs = task
      try:
        future.set_result(fn(*args, **kwargs))
      except BaseException as error:
        future.set_exception(error)
