"""The Ethernet task's fixtures: the real-time simulation is tested on it."""

from tests.tasks.ethernet.conftest import (  # noqa: F401
  place,
  reset,
  scene,
  solve,
  starts,
  step,
  task,
  tip_in_socket,
)
