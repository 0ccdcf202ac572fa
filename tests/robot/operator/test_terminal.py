import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time

import pytest

from rlt_jax.robot.operator.events import DeviceError, Kind
from rlt_jax.robot.operator.terminal import (
  check_keys,
  HELP,
  help_lines,
  KEYS,
  split_keys,
  Terminal,
)
from tests.robot.fake_clock import FakeClock


@pytest.fixture
def ends():
  master, slave = pty.openpty()
  yield master, slave
  for fd in (master, slave):
    try:
      os.close(fd)
    except OSError:
      pass  # the test closed it


def _kinds(terminal, expected=1):
  """Polls until the pty has handed over what was typed."""
  kinds, deadline = [], time.monotonic() + 5.0
  while len(kinds) < expected and time.monotonic() < deadline:
    kinds += [event.kind for event in terminal.poll()]
  return kinds


def test_every_key_gives_its_event_without_enter(ends):
  master, slave = ends
  with Terminal(fd=slave, clock=FakeClock(7.0)) as terminal:
    assert terminal.poll() == []
    os.write(master, b'trcsfad ')
    assert _kinds(terminal, 8) == list(KEYS.values())[:8]
    os.write(master, b'zS')  # no key of ours; with the shift lock on
    events = []
    while not events:
      events = terminal.poll()
    assert events == [(Kind.SUCCESS, 7.0, 'terminal', False)]


def test_a_flood_of_keys_does_not_keep_the_loop(ends):
  master, slave = ends
  flood = b'z' * 1_000_000 + b' '
  with Terminal(fd=slave) as terminal:
    writer = threading.Thread(target=_write_all, args=[master, flood])
    writer.start()
    lengths, read = [], terminal._read
    terminal._read = lambda: lengths.append(read()) or lengths[-1]
    assert _kinds(terminal) == [Kind.STOP]
    writer.join()
  lengths = [len(text) for text in lengths]
  assert sum(lengths) == len(flood) and max(lengths) <= 4096


def _write_all(fd, data):
  rest = memoryview(data)
  while rest:
    rest = rest[os.write(fd, rest) :]


def test_a_long_sequence_does_not_grow(ends):
  master, slave = ends
  with Terminal(fd=slave) as terminal:
    os.write(master, b'\x1b[' + b'1' * 3_000 + b'Cs')
    kinds, terminal._read = [], _blocks(slave, 1_000)
    while not kinds:
      kinds = [event.kind for event in terminal.poll()]
      assert len(terminal._rest) <= 2
  assert kinds == [Kind.SUCCESS]


def _blocks(fd, size):
  """Returns what reads so many bytes, and waits for the first of them."""

  def read():
    assert select.select([fd], [], [], 5.0)[0]
    return os.read(fd, size).decode()

  return read


def test_nothing_is_echoed(ends):
  master, slave = ends
  with Terminal(fd=slave) as terminal:
    os.write(master, b's')
    assert _kinds(terminal) == [Kind.SUCCESS]
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
      os.read(master, 10)


def test_what_was_typed_before_is_not_meant_for_the_loop(ends):
  master, slave = ends
  os.write(master, b's\n')
  assert select.select([slave], [], [], 5.0)[0]  # it has arrived
  with Terminal(fd=slave) as terminal:
    os.write(master, b'f')
    assert _kinds(terminal) == [Kind.FAILURE]


def test_an_arrow_key_gives_no_event_and_escape_stops(ends):
  master, slave = ends
  with Terminal(fd=slave) as terminal:
    os.write(master, b'\x1b[C\x1b[15~\x1bOAf')
    assert _kinds(terminal) == [Kind.FAILURE]
    os.write(master, b'\x1b')
    assert _kinds(terminal) == [Kind.STOP]
    assert terminal.poll() == []


@pytest.mark.parametrize(
  'text, keys, rest',
  [
    ('\x1b[1;5', [], '\x1b[1;5'),
    ('a\x1b', ['a'], '\x1b'),
    ('\x1b\x1b[A', ['esc'], ''),
    ('\x1bs', ['esc', 's'], ''),
    ('\r \t', ['enter', 'space', 'tab'], ''),
  ],
)
def test_keys_are_split(text, keys, rest):
  assert split_keys(text) == (keys, rest)


def test_keys_that_would_suspend_the_loop_do_nothing(ends):
  master, slave = ends
  with Terminal(fd=slave) as terminal:
    os.write(master, b'\x1a\x13\x1cs')  # Ctrl-Z, Ctrl-S, Ctrl-\
    assert _kinds(terminal) == [Kind.SUCCESS]
    mode = termios.tcgetattr(slave)
    assert mode[3] & termios.ISIG  # Ctrl-C interrupts
    assert not mode[0] & termios.IXON  # Ctrl-S does not hold the panel up


def test_the_terminal_is_restored_also_after_an_exception(ends):
  _, slave = ends
  before = termios.tcgetattr(slave)
  with pytest.raises(KeyboardInterrupt):
    with Terminal(fd=slave):
      assert termios.tcgetattr(slave) != before
      raise KeyboardInterrupt
  assert termios.tcgetattr(slave) == before


def test_the_terminal_is_restored_when_nobody_closes_it(ends):
  _, slave = ends
  before = termios.tcgetattr(slave)
  code = (
    'from rlt_jax.robot.operator.terminal import Terminal\n'
    'import termios\n'
    'before = termios.tcgetattr(0)\n'
    'Terminal().open()\n'
    'assert termios.tcgetattr(0) != before\n'
    'raise SystemExit(3)'
  )
  run = subprocess.run([sys.executable, '-c', code], stdin=slave)
  assert run.returncode == 3
  assert termios.tcgetattr(slave) == before


def test_a_terminal_that_hangs_up_is_lost(ends):
  master, slave = ends
  terminal = Terminal(fd=slave)
  terminal.open()
  os.close(master)
  with pytest.raises(DeviceError, match='The terminal is gone'):
    terminal.poll()
  terminal.close()
  with pytest.raises(DeviceError, match='must be opened'):
    terminal.poll()


def test_a_pipe_is_refused():
  read, write = os.pipe()
  try:
    with pytest.raises(DeviceError, match='need a terminal on standard input'):
      Terminal(fd=read).open()
  finally:
    os.close(read)
    os.close(write)


def test_help_has_a_line_per_key():
  assert set(HELP) == set(Kind) == set(KEYS.values())
  lines = help_lines()
  assert len(lines) == len(KEYS)
  assert all(len(line) < 60 for line in lines)
  assert lines[3] == 's      the episode succeeded'


@pytest.mark.parametrize(
  'keys, message',
  [
    ({'S': Kind.STOP}, "one lower-case character.*'S'"),
    ({'ab': Kind.STOP}, "one lower-case character.*'ab'"),
    ({' ': Kind.STOP}, "by its name, 'space'"),
    ({'s': Kind.SUCCESS}, 'One key must stop'),
  ],
)
def test_a_bad_key_table_is_refused(keys, message):
  with pytest.raises(ValueError, match=message):
    check_keys(keys)
