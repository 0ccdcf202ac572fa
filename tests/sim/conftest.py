"""The Ethernet task's fixtures: the simulator is tested on it."""

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
