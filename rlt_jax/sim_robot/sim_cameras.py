"""The twin's cameras in a process of their own: rays take milliseconds.

The loop's process sends the world as arrays and gets pictures back, over a
socket of their own, for a library may print: each message behind its length.
"""

import collections
import os
import socket
import struct
import subprocess
import sys
from typing import Any, BinaryIO

import numpy as np

from rlt_jax.robot.clock import Clock
from rlt_jax.serving import codec
from rlt_jax.sim import camera
from rlt_jax.sim_robot.sim_arm import SimArm
from rlt_jax.tasks.ethernet import scene

_LENGTH = struct.Struct('>I')


class SimCameras:
  """`Cameras` of a twin; `observe` waits for its pictures.

  So it belongs into the thread that asks the VLA, not into the loop's, whose
  `trigger` it follows: pictures of what the arm's reading was of.
  """

  def __init__(self, twin: SimArm, *, clock: Clock):
    """Starts the process and waits until it has compiled.

    Raises:
      OSError: the process ended instead.
    """
    side = camera.IMAGE_SIZE
    self.shapes = {name: (side, side, 3) for name in scene.CAMERAS}
    self._twin, self._clock, self._taken = twin, clock, -np.inf
    self._worlds: collections.deque = collections.deque()
    own, other = socket.socketpair()
    with own, other:
      self._process = subprocess.Popen(
        [sys.executable, '-m', __name__, str(other.fileno())],
        stdin=subprocess.DEVNULL,
        pass_fds=[other.fileno()],
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        start_new_session=True,  # out of reach of the terminal's Ctrl-C
      )
      self._pipe = own.makefile('rwb')
    self.observe()

  def trigger(self) -> None:
    """Keeps the world as it is now for an `observe`, oldest first."""
    taken = self._clock.now()
    world = {k: np.asarray(v) for k, v in self._twin.cameras().items()}
    self._worlds.append((taken, world))

  def observe(self) -> dict[str, np.ndarray]:
    """Returns camera name -> uint8 [S, S, 3] of the triggered world, or now.

    Raises:
      OSError: the process has ended.
    """
    if not self._worlds:
      self.trigger()
    taken, world = self._worlds.popleft()
    _send(self._pipe, world)
    images = _receive(self._pipe)
    if images is None:
      raise OSError('the process that draws the twin has ended')
    self._taken = taken
    return images

  def age_s(self) -> float:
    """Returns how old the last pictures are, s."""
    return self._clock.now() - self._taken

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
  """Is the process: draws until its input, descriptor argv[1], ends."""
  from rlt_jax.tasks.ethernet import insertion
  from rlt_jax.training.compilation_cache import keep_compiled

  keep_compiled()
  render = camera.make(insertion.make().scene)
  with (
    socket.socket(fileno=int(argv[1])) as link,
    link.makefile('rwb') as pipe,
  ):
    while (world := _receive(pipe)) is not None:
      images = render(insertion.State(**world))
      _send(pipe, {name: np.asarray(x)[0] for name, x in images.items()})


if __name__ == '__main__':
  main(sys.argv)
