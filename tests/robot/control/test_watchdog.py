import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.control import watchdog
from rlt_jax.robot.control.watchdog import Watchdog, WatchdogConfig

_LONG_S = 60.0  # a busy machine may take so long; an idle one does not


class FileArm:
  """An arm that is a file: one line for each thing it was asked."""

  def __init__(self, path: str, faults: int):
    self.path, self.faults = path, faults

  def _do(self, name: str) -> None:
    with open(self.path, 'a') as file:
      file.write(f'{name}\n')

  def connect(self) -> None:
    print('Some vendors talk while they connect.')
    self._do('connect')

  def hold(self) -> None:
    self._do('hold')
    self.faults -= 1
    if self.faults >= 0:
      raise ArmError('no answer')

  def disconnect(self) -> None:
    self._do('disconnect')


def make_arm(path: str, faults: int = 0) -> FileArm:
  return FileArm(path, faults)


def refuse() -> None:
  raise ArmError('the port is taken')


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'arm.txt'


def _config(path, **changes):
  fields = {
    'factory': 'tests.robot.control.test_watchdog:make_arm',
    'arguments': {'path': str(path)},
    'timeout_s': _LONG_S,
  }
  return WatchdogConfig(**(fields | changes))


def _wait_for(path, text) -> None:
  end = time.monotonic() + _LONG_S
  while not (path.exists() and text in path.read_text().split()):
    assert time.monotonic() < end, f'no {text!r} in {path}'
    time.sleep(0.01)


# What the loop's process does: beats until it is killed.
_LOOP = """
import sys, time
from rlt_jax.robot.control.watchdog import Watchdog, WatchdogConfig
dog = Watchdog(WatchdogConfig(
  factory='tests.robot.control.test_watchdog:make_arm',
  arguments={'path': sys.argv[1], 'faults': 2},
  timeout_s=float(sys.argv[2]),
))
dog.start()
while True:
  dog.beat()
  print('beat', flush=True)
  time.sleep(0.01)
"""


@pytest.mark.parametrize(
  'signal_, timeout_s', [(signal.SIGKILL, _LONG_S), (signal.SIGSTOP, 2.0)]
)
def test_a_loop_that_is_killed_or_hangs_has_its_arm_held(
  path, signal_, timeout_s
):
  loop = subprocess.Popen(
    [sys.executable, '-c', _LOOP, str(path), str(timeout_s)],
    stdout=subprocess.PIPE,
    cwd=pathlib.Path(__file__).parents[3],
  )
  try:
    for _ in range(3):
      assert loop.stdout.readline() == b'beat\n'
    assert path.read_text() == 'connect\n'
    loop.send_signal(signal_)
    start = time.monotonic()
    _wait_for(path, 'hold')
    # A killed loop's pipe ends at once: nobody waits for the timeout.
    assert signal_ == signal.SIGSTOP or time.monotonic() - start < timeout_s
  finally:
    loop.kill()
    loop.wait()
    loop.stdout.close()


def test_silence_holds_and_the_next_beat_says_so(path):
  dog = Watchdog(_config(path, timeout_s=0.1))
  dog.start()
  dog.beat()
  _wait_for(path, 'hold')
  with pytest.raises(
    ArmError, match='held the arm if no heartbeat came for 0.1 s. Release'
  ):
    dog.beat()
  assert not dog.running
  dog.start()
  assert dog.running
  dog.beat()
  dog.close()
  assert path.read_text().split() == ['connect', 'hold'] + [
    'connect', 'disconnect'
  ]  # fmt: skip


def test_left_by_an_exception_it_holds(path):
  with pytest.raises(ZeroDivisionError), Watchdog(_config(path)) as dog:
    dog.beat()
    raise ZeroDivisionError
  assert path.read_text().split() == ['connect', 'hold']
  with pytest.raises(ArmError, match='must be started'):
    dog.beat()


def test_an_arm_of_one_connection_is_connected_for_the_hold(path):
  dog = Watchdog(_config(path, connect='fault'))
  dog.start()
  dog.beat()
  assert not path.exists()
  dog.close(goodbye=False)
  assert path.read_text().split() == ['connect', 'hold']


def test_what_it_cannot_do_is_known_before_anything_moves(path):
  factory = 'tests.robot.control.test_watchdog:refuse'
  dog = Watchdog(_config(path, factory=factory, arguments={}))
  with pytest.raises(ArmError, match='ready: ArmError: the port is taken'):
    dog.start()


class _Pipe:
  """Runs `watch` in a thread at one end of a pipe."""

  def __init__(self, timeout_s):
    self.out, self.pipe = os.pipe()
    self.why = None
    self.thread = threading.Thread(target=self._watch, args=(timeout_s,))
    self.thread.start()

  def _watch(self, timeout_s):
    self.why = watchdog.watch(self.out, timeout_s)

  def end(self, close=False):
    if close:
      os.close(self.pipe)
    self.thread.join(_LONG_S)
    os.close(self.out)
    if not close:
      os.close(self.pipe)
    return self.why


def test_before_the_first_beat_it_waits_and_owes_nothing():
  pipe = _Pipe(0.05)
  pipe.thread.join(0.3)
  assert pipe.thread.is_alive()
  assert pipe.end(close=True) == ''


def test_a_goodbye_is_no_fault():
  pipe = _Pipe(_LONG_S)
  os.write(pipe.pipe, b'...q')
  assert pipe.end() == ''


def test_rest_allows_silence_but_not_death():
  pipe = _Pipe(0.05)
  os.write(pipe.pipe, b'.r')
  pipe.thread.join(0.3)
  assert pipe.thread.is_alive()
  assert pipe.end(close=True) == "the loop's process has ended"


def test_after_a_rest_beats_are_due_again():
  pipe = _Pipe(0.05)
  os.write(pipe.pipe, b'r')
  os.write(pipe.pipe, b'.')
  assert pipe.end() == 'no heartbeat for 0.05 s'


@pytest.mark.parametrize(
  'change, message',
  [
    ({'timeout_s': 0.0}, 'timeout_s must be positive: 0.0'),
    ({'factory': 'a.b'}, "factory must be 'package.module:function': 'a.b'"),
    ({'connect': 'never'}, "connect must be one of .*: 'never'"),
  ],
)
def test_bad_settings_are_refused(path, change, message):
  with pytest.raises(ValueError, match=message):
    _config(path, **change)
