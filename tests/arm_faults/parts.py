"""Arm, cameras and server of the campaign, used by the processes under test."""

import collections
import functools
import os
import sys
import threading
import time

import numpy as np

from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.threaded_cameras import Source, ThreadedCameras
from rlt_jax.robot.operator.events import ButtonMap, Kind


class LoggingArm(FakeArm):
  """Writes every call to a file that outlives the process: time, pid, name."""

  def __init__(self, spec, *, clock, log):
    super().__init__(spec, clock=clock)
    self._fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

  def _log(self, event):
    super()._log(event)
    line = f'{time.monotonic()} {os.getpid()} {event}\n'
    os.write(self._fd, line.encode())


def make_arm(spec, *, clock, log):
  return LoggingArm(spec, clock=clock, log=log)


class TriggeredCameras(FakeCameras):
  """Cameras whose pictures are of the moment of their query, on a busy host."""

  def __init__(self, names, **arguments):
    super().__init__(names, **arguments)
    self._pictures = collections.deque(maxlen=1)

  def trigger(self):
    self._pictures.append((super().observe(), self._clock.now()))

  def observe(self):
    if not self._pictures:
      self.trigger()
    images, self._captured = self._pictures.pop()
    return images

  def age_s(self):
    return self._clock.now() - self._captured


class FaultyCameras(FakeCameras):
  """Fake cameras that are slow, or hang for ever, from a moment on.

  slow_s: a picture takes so long and is of its end. hang_at_s: of the first
  picture that never comes.
  """

  def __init__(self, names, *, slow_s=0.0, hang_at_s=None, **arguments):
    super().__init__(names, **arguments)
    self._slow_s, self._hang_at_s = slow_s, hang_at_s
    self._began = time.monotonic()

  def observe(self):
    elapsed_s = time.monotonic() - self._began
    if self._hang_at_s is not None and elapsed_s > self._hang_at_s:
      threading.Event().wait()
    time.sleep(self._slow_s)
    return super().observe()


def make_threaded(names, *, clock, size, hang_at_s):
  """Returns cameras with threads, the last of which hangs from a moment on."""
  began = time.monotonic()

  def grab(number, name):
    time.sleep(1.0 / 60.0)
    elapsed_s = time.monotonic() - began
    if name == names[-1] and elapsed_s > hang_at_s:
      threading.Event().wait()
    shade = 64 + (number + int(elapsed_s * 60.0)) % 128
    return np.full((size, size, 3), shade, np.uint8)

  sources = {
    name: Source(functools.partial(grab, number, name), lambda: None)
    for number, name in enumerate(names)
  }
  return ThreadedCameras(sources, size=size, clock=clock)


def make_cameras(names, *, clock, **arguments):
  faulty = {'slow_s', 'hang_at_s'} & set(arguments)
  cameras = FaultyCameras if faulty else TriggeredCameras
  return cameras(names, clock=clock, **arguments)


class FilePedal:
  """A pedal that is down while a file is there."""

  name = 'pedal'

  def __init__(self, *, clock, path):
    self._clock, self._path, self._down = clock, path, False
    self._buttons = ButtonMap(down={0: Kind.TAKEOVER}, up={0: Kind.RELEASE})

  def open(self):
    pass

  def poll(self):
    before, self._down = self._down, os.path.exists(self._path)
    if self._down == before:
      return []
    return self._buttons.events(
      0, self._down, time=self._clock.now(), device=self.name
    )

  def close(self):
    pass


def serve(port: str, *options: str) -> None:
  """Runs the VLA server of the tests, as a process that can be killed.

  Options: cameras=a,b is what it takes; first_s=30 is how long the first answer
  takes. What else it is given is of the task, and not used.
  """
  import dataclasses

  from rlt_jax.serving.server import PolicyServer
  from tests.robot.fakes import WIRE
  from tests.robot.test_runtime import infer

  given = dict(x.split('=', 1) for x in options)
  cameras = tuple(given.get('cameras', ','.join(WIRE.cameras)).split(','))
  wire = dataclasses.replace(WIRE, cameras=cameras)
  first_s = [float(given.get('first_s', 0.0))]

  def answer(message):
    if first_s:
      time.sleep(first_s.pop())
    return infer(message, wire)

  with PolicyServer(answer, dataclasses.asdict(wire), port=int(port)):
    threading.Event().wait()


if __name__ == '__main__':
  serve(*sys.argv[1:])
