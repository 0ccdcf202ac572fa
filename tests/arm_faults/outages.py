"""What is full, late or hangs: the run waits, and says for what."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

from rlt_jax.robot.recording import episodes
from tests.arm_faults.cases import check_ended, Context, STRIDE, Tally
from tests.arm_faults.rig import Rig, Server, wait_for

_ROOMY = '2g'  # the preflight wants a GiB
_FULL = 'is full'
_CAMERAS = ('left', 'right')
_START_S = 120.0


class SmallDisk:
  """A file system in memory whose room is changed; needs root."""

  def __init__(self, folder: pathlib.Path):
    folder.mkdir(parents=True, exist_ok=True)
    self._folder = folder
    _mount('-t', 'tmpfs', '-o', f'size={_ROOMY}', 'tmpfs', str(folder))

  def fill(self):
    """Leaves no room, but for the ends of files' last pages."""

    def shrink():
      found = os.statvfs(self._folder)
      used = (found.f_blocks - found.f_bfree) * found.f_frsize
      try:
        self._resize(used)
      except subprocess.CalledProcessError:
        return False  # the run has written meanwhile
      return True

    wait_for(shrink, 'a smaller disk')

  def empty(self):
    """Gives room again."""
    self._resize(_ROOMY)

  def close(self):
    """Removes it with all that is on it."""
    subprocess.run(['umount', '--lazy', str(self._folder)], check=True)

  def _resize(self, size):
    _mount('-o', f'remount,size={size}', str(self._folder))


def _mount(*arguments):
  subprocess.run(['mount', *arguments], check=True, capture_output=True)


def full_disk(context: Context) -> Tally:
  """A full disk in base episodes and in practice: the arm waits for room."""
  tally, server = context.tally, Server()
  try:
    for number, mode in enumerate(('base', 'practice')):
      rig = Rig(context.fresh(f'full_{mode}'), server.port, time_limit=50)
      try:
        disk = SmallDisk(rig.workdir)
      except (OSError, subprocess.CalledProcessError):
        tally.notes.append('not tried: a disk can be mounted by root only')
        return tally
      try:
        trials = (context.count + 1 - number) // 2
        _fill_often(context, rig, disk, tally, mode, trials)
      finally:
        rig.stop()
        disk.close()
  finally:
    server.kill()
  return tally


def _fill_often(context, rig, disk, tally, mode, trials) -> None:
  rig.start(*['--num_base_episodes=1000000'] * (mode == 'base'))
  for _ in range(trials):
    rig.wait_until_moving()
    time.sleep(context.rng.uniform(0.0, 1.0))
    said, before = rig.output.count(_FULL), len(rig.rows())
    disk.fill()
    wait_for(lambda n=said: rig.output.count(_FULL) > n, 'words about the disk')
    time.sleep(context.rng.uniform(0.0, 2.0))
    disk.empty()
    wait_for(lambda n=before: len(rig.rows()) > n + 1, 'two episodes')
    faults = []
    for row in rig.rows()[before:]:
      if (row['mode'], row['outcome']) != (mode, 'time_out'):
        faults.append(f'{row["mode"]}: {row["outcome"]}')
    if mode == 'practice':
      for episode in list(rig.episodes())[before : before + 2]:
        parts = episodes.learnable_parts(episode, STRIDE)
        if sum(len(x.steps) for x in parts) != episode.num_steps:
          faults.append('steps are lost')
    tally.add(faults)
  rig.signal(signal.SIGTERM)
  tally.add(check_ended(rig, rig.wait()))


def late_vla(context: Context) -> Tally:
  """A server whose first answer takes half a minute: it is waited for."""
  tally = context.tally
  for number in range(context.count):
    late_s = context.rng.uniform(28.0, 32.0)
    server = Server(first_s=late_s)
    rig = Rig(context.fresh(f'late{number}'), server.port)
    try:
      rig.start()
      began = time.monotonic()
      wait_for(lambda r=rig: 'may run' in r.output, 'a verdict', _START_S)
      rig.wait_until_in_motion()
      waited_s = time.monotonic() - began
      faults = [] if waited_s > 20.0 else [f'it came after {waited_s:.0f} s']
      if 'VLA, first answer' not in rig.output:
        faults.append('no word about the answer')
      rig.signal(signal.SIGTERM)
      tally.add(faults + check_ended(rig, rig.wait()))
    finally:
      rig.stop()
      server.kill()
  return tally


def hung_camera(context: Context) -> Tally:
  """One of two cameras with threads hangs: named, held, and the run can end."""
  tally, server = context.tally, Server(cameras=','.join(_CAMERAS))
  with contextlib.ExitStack() as stack:
    stack.callback(server.kill)
    for number in range(context.count):
      rig = Rig(
        context.fresh(f'hung{number}'),
        server.port,
        cameras='tests.arm_faults.parts:make_threaded',
        camera_names=list(_CAMERAS),
        camera_arguments={
          'size': 8,
          'hang_at_s': 9.0 + context.rng.uniform(0.0, 2.0),
        },
      )
      stack.callback(rig.stop)
      rig.start()
      rig.wait_until_moving()
      words = f'Camera {_CAMERAS[-1]} must give a picture'
      wait_for(lambda r=rig, w=words: w in r.output, 'words about the camera')
      faults = [] if rig.calls()[-1][2] == 'hold' else ['the arm does not hold']
      rig.signal(signal.SIGINT)
      tally.add(faults + check_ended(rig, rig.wait()))
      rig.stop()
  return tally
