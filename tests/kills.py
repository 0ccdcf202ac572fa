"""Programs that are killed, as a test needs them."""

import signal
import subprocess
import sys
import textwrap


def kill_when_ready(program: str) -> None:
  """Runs Python source until it prints 'ready', then kills it with -9."""
  process = subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(program)], stdout=subprocess.PIPE
  )
  try:
    assert process.stdout.readline() == b'ready\n'
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
