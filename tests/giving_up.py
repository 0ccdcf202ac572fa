"""Stands for a compilation during which a signal comes."""

from collections.abc import Callable, Iterator
import contextlib
import signal
import threading
from typing import Any

import pytest

from rlt_jax import signals


@contextlib.contextmanager
def given_up() -> Iterator[Callable[..., Any]]:
  """Yields a function that goes on for long; the block must not wait for it."""
  goes_on, ended = threading.Event(), []

  def compiling(*_, **__) -> None:
    signal.raise_signal(signal.SIGTERM)
    ended.append(goes_on.wait(60.0))

  with pytest.raises(signals.Stopped, match='SIGTERM'):
    yield compiling
  assert not ended
  goes_on.set()
