"""What a run changes of its process: signals, and the garbage collector."""

from collections.abc import Iterator
import contextlib
import gc
import signal
from typing import Any

from rlt_jax import signals
from rlt_jax.robot.run_schedule import RobotRun


@contextlib.contextmanager
def of_run(run: RobotRun) -> Iterator[None]:
  """Makes signals end the run, and keeps garbage until it is over."""
  with _ending_on_signals(run), _garbage_kept():
    yield


@contextlib.contextmanager
def _ending_on_signals(run: RobotRun) -> Iterator[None]:
  """Makes signals end the run; the second one interrupts.

  Those that are ignored, as SIGHUP under `nohup`, stay ignored.
  """

  def end_run(signum: int, frame: Any) -> None:
    del frame
    if run.stop:
      raise signals.Stopped(signum)
    run.stop = True

  before = {
    signum: signal.signal(signum, end_run)
    for signum in signals.SIGNALS
    if signal.getsignal(signum) != signal.SIG_IGN
  }
  try:
    yield
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
  """Turns the garbage collector off: a collection would be an overrun."""
  gc.collect()
  gc.freeze()
  gc.disable()
  try:
    yield
  finally:
    gc.enable()
    gc.unfreeze()
