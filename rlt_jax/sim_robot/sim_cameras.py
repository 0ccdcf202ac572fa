"""The cameras of a simulated arm, rendered in a separate process.

Rendering takes milliseconds, which would delay the control loop. The loop's
process sends the world's state as arrays and receives images over a socket; not
over stdout, since libraries may print there. Each message is preceded by its
length.
"""

import collections
import os
import socket
import struct
import subprocess
import sys
from typing import Any, BinaryIO

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import tasks
from rlt_jax.robot.clock import Clock
from rlt_jax.serving import codec
from rlt_jax.sim_robot.sim_arm import SimArm
from rlt_jax.tasks.task import TaskSpec

_LENGTH = struct.Struct('>I')


class SimCameras:
  """`Cameras` of a simulated arm; `observe` waits for its images.

  Call `observe` in the thread that queries the VLA, not in that of the control
  loop. The loop calls `trigger`, so that the images are of the same moment as
  the arm's reading.
  """

  def __init__(
    self,
    sim_arm: SimArm,
    spec: TaskSpec,
    *,
    task_name: str,
    task_config: Any,
    clock: Clock,
  ):
    """Starts the process and waits until it has compiled its renderer.

    Args:
      sim_arm: its scene is rendered.
      spec: of its task; gives the cameras' names and sizes.
      task_name, task_config: arguments of `tasks.load` in the process.
      clock: of the control loop.

    Raises:
      OSError: the process has ended.
    """
    side = spec.image_size
    self.shapes = {name: (side, side, 3) for name in spec.cameras}
    self._sim_arm, self._clock, self._capture_time = sim_arm, clock, -np.inf
    self._pending: collections.deque = collections.deque(maxlen=1)
    own, other = socket.socketpair()
    with own, other:
      self._process = subprocess.Popen(
        [sys.executable, '-m', __name__, str(other.fileno()), task_name,
         config_lib.to_json(task_config)],
        stdin=subprocess.DEVNULL,
        pass_fds=[other.fileno()],
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        start_new_session=True,  # so that the terminal's Ctrl-C does not end it
      )  # fmt: skip
      self._pipe = own.makefile('rwb')
    self.observe()

  def trigger(self) -> None:
    """Stores the current world for the next `observe`."""
    now = self._clock.now()
    leaves = jax.tree.leaves(self._sim_arm.world())
    world = {str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)}
    self._pending.append((now, world))

  def observe(self) -> dict[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3] of the stored world.

    Without a stored world it renders the current one.

    Raises:
      OSError: the process has ended.
    """
    if not self._pending:
      self.trigger()
    capture_time, world = self._pending.popleft()
    _send(self._pipe, world)
    images = _receive(self._pipe)
    if images is None:
      raise OSError(
        'The process of the simulated cameras must run: it has ended.'
      )
    self._capture_time = capture_time
    return images

  def age_s(self) -> float:
    """Returns the age of the last images, s."""
    return self._clock.now() - self._capture_time

  def close(self) -> None:
    """Ends the process."""
    self._pipe.close()
    self._process.wait()


def _send(pipe: BinaryIO, message: dict[str, Any]) -> None:
  frame = codec.pack(message)
  pipe.write(_LENGTH.pack(len(frame)) + frame)
  pipe.flush()


def _receive(pipe: BinaryIO) -> dict[str, Any] | None:
  head = pipe.read(_LENGTH.size)
  if len(head) < _LENGTH.size:
    return None
  frame = pipe.read(_LENGTH.unpack(head)[0])
  return codec.unpack(frame)


def main(argv: list[str]) -> None:
  """Runs the rendering process until its input ends.

  Args:
    argv: program name, file descriptor of the socket, the task's name, and its
      config as JSON.
  """
  from rlt_jax.training.compilation_cache import keep_compiled

  keep_compiled()
  _, link, name, text = argv
  config = config_lib.from_json(tasks.config_class(name), text)
  task = tasks.load(name, config)
  like = jax.eval_shape(task.reset, jax.random.PRNGKey(0))
  structure = jax.tree.structure(like)
  with (
    socket.socket(fileno=int(link)) as connection,
    connection.makefile('rwb') as pipe,
  ):
    while (world := _receive(pipe)) is not None:
      leaves = [world[str(i)] for i in range(len(world))]
      images = task.render(jax.tree.unflatten(structure, leaves))
      _send(pipe, {name: np.asarray(x)[0] for name, x in images.items()})


if __name__ == '__main__':
  main(sys.argv)
