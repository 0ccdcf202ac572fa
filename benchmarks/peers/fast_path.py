"""Runs the PyTorch updates in a separate process, with MKL's fast code.

MKL, PyTorch's matrix library, checks whether the processor is Intel's and uses
slower code if not. A library with one function, built here by the C compiler
and loaded before PyTorch, makes this check succeed. It changes the whole
process, so these updates run in a separate one, called over a pipe.

  python -m benchmarks.peers.fast_path '{"z_dim": 256, ...}'

is that process. It reads the index of a peer from each line, runs the peer's
cycles and prints 'done'.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

_SOURCE = 'int mkl_serv_intel_cpu_true(void) { return 1; }\n'


def is_needed() -> bool:
  """Returns whether MKL takes its slow path on this machine."""
  info = pathlib.Path('/proc/cpuinfo')
  text = info.read_text('utf-8') if info.exists() else ''
  # MKL exists on x86 only, and only there cpuinfo has a vendor.
  return 'vendor_id' in text and 'GenuineIntel' not in text


def compiler() -> str:
  """Returns the path of the C compiler.

  Raises:
    FileNotFoundError: there is none.
  """
  path = shutil.which('cc') or shutil.which('gcc')
  if path is None:
    raise FileNotFoundError(
      "MKL's fast path needs a C compiler on PATH, cc or gcc: none found."
    )
  return path


class Peers:
  """Starts and calls the process; a context manager."""

  def __init__(self, size: dict[str, object], forms: list[tuple[str, bool]]):
    """Starts it.

    Args:
      size: arguments of `inputs.make_shared`, and 'cycles' per call.
      forms: form and whether to compile it, for each peer.

    Raises:
      FileNotFoundError: no C compiler.
    """
    self._folder = tempfile.TemporaryDirectory()
    source = pathlib.Path(self._folder.name, 'intel.c')
    source.write_text(_SOURCE, 'utf-8')
    library = source.with_suffix('.so')
    subprocess.run(
      [compiler(), '-shared', '-fPIC', '-o', library, source], check=True
    )
    self._process = subprocess.Popen(
      [sys.executable, '-m', __spec__.name, json.dumps([size, forms])],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=os.environ | {'LD_PRELOAD': str(library)},
      text=True,
    )
    self._wait()

  def call(self, index: int) -> None:
    """Runs the cycles of one peer."""
    self._process.stdin.write(f'{index}\n')
    self._process.stdin.flush()
    self._wait()

  def _wait(self):
    if self._process.stdout.readline() != 'done\n':
      raise RuntimeError(
        'The process of the PyTorch peers must answer each call: it ended with '
        f'status {self._process.wait()}.'
      )

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *_):
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()
    self._folder.cleanup()


def _serve(size, forms):
  from benchmarks import inputs
  from benchmarks.peers import torch_update

  cycles = size.pop('cycles')
  shared = inputs.make_shared(**size | {'hidden': tuple(size['hidden'])})
  rows = torch_update.tensors(shared.rows)
  peers = [torch_update.make(shared, rows, *form) for form in forms]
  del shared
  print('done', flush=True)
  for line in sys.stdin:
    for _ in range(cycles):
      peers[int(line)].cycle()
    print('done', flush=True)


if __name__ == '__main__':
  _serve(*json.loads(sys.argv[1]))
